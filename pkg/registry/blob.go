// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
)

// Blob is the config or a layer of an image, as its manifest describes it.
type Blob struct {
	Digest digest.Digest
	Size   int64 // in bytes
}

// Blob gets a blob from the repository of the request's reference. It calls read with the bytes as
// they arrive, so that a layer is never held as a whole, and then reads what read has left. Only if
// Blob returns nil have all of the bytes the digest and the size of the blob. If read returns an
// error, Blob returns that error. Any other error has a class of package failure. read is called at
// most once. A registry that sends no bytes for as long as its timeout, while they are waited for,
// ends the request.
func (c *Client) Blob(
	ctx context.Context, req Request, b Blob, read func(io.Reader) error,
) error {
	if err := b.Digest.Validate(); err != nil || b.Size < 0 {
		return failure.Errorf(failure.Invalid, "%s: the manifest describes a blob without a valid "+
			"digest and size", req.Ref.Host())
	}
	called := false
	return c.get(ctx, req, resource{
		what: "blob", path: "blobs/" + b.Digest.String(), accept: "*/*", stream: true,
		read: func(l *lookup, resp *http.Response) error {
			if called {
				return errors.New("the blob was read already")
			}
			body, size, err := l.decoded(resp)
			switch {
			case err != nil:
				return err
			case size >= 0 && size != b.Size:
				return l.invalid("the blob has %d bytes, but the manifest says %d", size, b.Size)
			}
			called = true
			return l.verified(body, b, read)
		},
	})
}

// verified calls read with a blob's body and checks the body.
func (l *lookup) verified(body io.Reader, b Blob, read func(io.Reader) error) error {
	hash, count := b.Digest.Verifier(), counter(0)
	s := &streamed{l: l, body: body}
	// One byte more than the size shows that the blob is too large.
	limited := io.LimitReader(s, b.Size+1)
	checked := io.TeeReader(limited, io.MultiWriter(hash, &count))
	l.resource.late.Stop() // until the first read
	err := read(checked)
	if err == nil {
		_, err = io.Copy(io.Discard, checked)
	}
	switch {
	case s.err != nil && !errors.Is(s.err, io.EOF): // which read may have returned as another one
		return s.err
	case err != nil:
		return err
	case int64(count) != b.Size:
		return l.invalid("the blob has not the %d bytes that the manifest says", b.Size)
	case !hash.Verified():
		return l.invalid("the blob's bytes have another digest than the one asked for")
	}
	return nil
}

// counter counts the bytes that are written to it.
type counter int64

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
