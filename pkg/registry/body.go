// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/tagpin/tagpin/pkg/registry/network"
)

// freeBody is the part of a manifest that takes no room in Client.Manifests. Nearly all manifests
// are smaller, so that they never wait for the large ones of others.
const freeBody = 64 << 10

var errNoRoom = errors.New("no room for another manifest")

// read reads an answer with status 200.
func (l *lookup) read(resp *http.Response) (*Manifest, error) {
	m := newManifest(resp.Header)
	if resp.Request.Method != http.MethodGet {
		return m, nil
	}
	body, size, err := l.decoded(resp)
	if err != nil {
		return nil, err
	}
	if err := l.readBody(resp.Request.Context(), m, body, size); err != nil {
		return nil, err
	}
	return m, nil
}

// readBody reads a manifest's body. size is the size in the header, or -1. The first freeBody bytes
// are read into memory that grows with them. For the rest, room is reserved before memory is
// allocated.
func (l *lookup) readBody(ctx context.Context, m *Manifest, r io.Reader, size int64) error {
	tooLarge := l.invalid("manifest larger than %d MiB", MaxManifest>>20)
	if size > MaxManifest {
		return tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r, freeBody))
	switch {
	case err != nil:
		return l.broken(err)
	case len(body) < freeBody:
		m.Body = body
		return nil
	case size < freeBody:
		size = MaxManifest // the size is unknown
	}
	asked := time.Now()
	release, err := l.client.Manifests.Enter(ctx, l.Namespace, size)
	if err != nil {
		return l.noRoom("large ones ", err)
	}
	waited := time.Since(asked) > time.Millisecond // more than it takes if there is room
	// The buffer never grows, and one byte more than size shows that the body is too large.
	buf := bytes.NewBuffer(make([]byte, 0, size+1+bytes.MinRead))
	_, _ = buf.Write(body) // never fails (package bytes)
	_, err = buf.ReadFrom(io.LimitReader(r, size+1-freeBody))
	switch {
	case int64(buf.Len()) > size:
		err = tooLarge
	case err == nil:
		m.Body, m.release = buf.Bytes(), release
		return nil
	case waited && ctx.Err() != nil: // the registry had less time than its timeout
		err = l.noRoom("large ones ", err)
	default:
		err = l.broken(err)
	}
	release()
	return err
}

// decoded returns an answer's body and its size, which is -1 if it is unknown. tagpin accepts no
// encoding, but some registries compress all that they send (serverless-registry#136).
func (l *lookup) decoded(resp *http.Response) (body io.Reader, size int64, err error) {
	switch encoding := resp.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
		return resp.Body, resp.ContentLength, nil
	case "gzip":
		body, err := gzip.NewReader(resp.Body)
		switch {
		case err == nil:
			return body, -1, nil
		case !errors.Is(err, gzip.ErrHeader):
			return nil, 0, l.broken(err)
		}
	}
	return nil, 0, l.invalid("the manifest can't be decoded; see its header Content-Encoding")
}

// broken returns the error of a body that ended too early.
func (l *lookup) broken(err error) error {
	e := l.unanswered(err, network.Broken)
	e.via = l.via
	return e
}

// noRoom returns the error of a manifest that waits in vain for others: which says for what ones.
func (l *lookup) noRoom(which string, err error) error {
	return &requestError{
		host: l.Name, via: l.via, err: errors.Join(errNoRoom, err), ofNamespace: true,
		reason: "its manifest was not read, since too many " + which + "are being read; try again",
	}
}
