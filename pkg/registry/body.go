// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tagpin/tagpin/pkg/fair"
)

// freeBody is how much of a manifest is read without a place in the Client's Manifests. Nearly all
// manifests are smaller, so that they never wait for the large ones of others.
const freeBody = 64 << 10

// ErrNoRoom reports that a request was not made, or its answer not read, because others are using what
// is shared: room for large manifests, or for connections that are being made. It says nothing about
// the image.
var ErrNoRoom = errors.New("no room")

// errTooLarge reports a body of more than MaxManifest bytes.
var errTooLarge = errors.New("too large")

// readBody reads a manifest's body of the declared size, or -1. Memory grows with what has come, to
// freeBody; then the rest is reserved, before memory for it is allocated. release gives back what
// was reserved and is to be called when the body is not needed any more.
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
		size = MaxManifest // it is not known
	}
	release, waited, err := reserve(ctx, l.client.Manifests, l.req.Namespace, size)
	if err != nil {
		return nil, release, err
	}
	if body, err = readRest(body, r, size); err == nil {
		return body, release, nil
	}
	release()
	if waited && ctx.Err() != nil { // it had less than the registry's timeout
		err = ErrNoRoom
	}
	return nil, func() {}, err
}

// reserve takes size bytes of q. release is never nil; waited reports whether they were not free at
// once.
func reserve(
	ctx context.Context, q *fair.Queue, namespace string, size int64,
) (release func(), waited bool, err error) {
	if q == nil {
		return func() {}, false, nil
	}
	atOnce, cancel := context.WithCancel(ctx)
	cancel()
	release, err = q.Enter(atOnce, namespace, size)
	if waited = errors.Is(err, context.Canceled); waited {
		release, err = q.Enter(ctx, namespace, size)
	}
	if err != nil {
		return func() {}, waited, fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	return release, waited, nil
}

// readRest reads on, into memory for size bytes. One byte more is an error.
func readRest(begin []byte, r io.Reader, size int64) ([]byte, error) {
	body := make([]byte, size+1)
	for n := copy(body, begin); n < len(body); {
		more, err := r.Read(body[n:])
		n += more
		switch {
		case errors.Is(err, io.EOF) && n < len(body):
			return body[:n], nil
		case err != nil && n < len(body):
			return nil, err
		}
	}
	return nil, errTooLarge
}
