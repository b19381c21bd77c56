// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/tagpin/tagpin/pkg/fair"
)

// freeBody is the part of a manifest that takes no room in Client.Manifests. Nearly all manifests
// are smaller, so that they never wait for the large ones of others.
const freeBody = 64 << 10

var (
	errNoRoom   = errors.New("no room for another large manifest")
	errTooLarge = errors.New("too large")
)

// readBody reads a manifest's body. declared is the size in the header, or -1. The first freeBody
// bytes are read into memory that grows with them. For the rest, room is reserved before memory is
// allocated. release gives the room back and must be called when the body is no longer needed.
func (l *lookup) readBody(
	ctx context.Context, r io.Reader, declared int64,
) (_ []byte, release func(), err error) {
	release = func() {}
	if declared > MaxManifest {
		return nil, release, errTooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r, freeBody))
	if err != nil || len(body) < freeBody {
		return body, release, err
	}
	size := declared
	if size < freeBody {
		size = MaxManifest // the size is unknown
	}
	release, waited, err := reserve(ctx, l.client.Manifests, l.Namespace, size)
	if err != nil {
		return nil, release, err
	}
	// The buffer never grows, and one byte more than size shows that the body is too large.
	buf := bytes.NewBuffer(make([]byte, 0, size+1+bytes.MinRead))
	_, _ = buf.Write(body) // never fails (package bytes)
	_, err = buf.ReadFrom(io.LimitReader(r, size+1-freeBody))
	switch {
	case int64(buf.Len()) > size:
		err = errTooLarge
	case err == nil:
		return buf.Bytes(), release, nil
	}
	release()
	if waited && ctx.Err() != nil { // the registry had less time than its timeout
		err = errNoRoom
	}
	return nil, func() {}, err
}

// decoded returns an answer's body and its size, which is -1 if it is unknown. tagpin accepts no
// encoding, but some registries compress all that they send (serverless-registry#136).
func decoded(resp *http.Response) (body io.Reader, size int64, err error) {
	switch encoding := resp.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
		return resp.Body, resp.ContentLength, nil
	case "gzip":
		if body, err = gzip.NewReader(resp.Body); err == nil {
			return body, -1, nil
		}
	}
	return nil, 0, errors.New("the manifest can't be decoded; see its header Content-Encoding")
}

// reserve takes size bytes of q, which may be nil. release is never nil. waited is true if the
// bytes were not free at once.
func reserve(
	ctx context.Context, q *fair.Queue, namespace string, size int64,
) (release func(), waited bool, err error) {
	if q == nil {
		return func() {}, false, nil
	}
	release, err = q.TryEnter(namespace, size)
	if waited = errors.Is(err, fair.ErrFull); waited {
		release, err = q.Enter(ctx, namespace, size)
	}
	if err != nil {
		return func() {}, waited, fmt.Errorf("%w: %w", errNoRoom, err)
	}
	return release, waited, nil
}
