// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"cmp"
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/tagpin/tagpin/pkg/registry/network"
)

// freeBody is the size up to which a manifest takes no room in Client.Manifests. Nearly all
// manifests are smaller, so that they never wait for the large ones of others.
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
	release, err := l.client.Manifests.EnterNotify(ctx, l.Namespace, size, l.waitForRoom)
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

// waitForRoom lets other requests try the gate of the repository meanwhile, since it has answered.
func (l *lookup) waitForRoom() (over func(goesOn bool)) {
	resume, waited := l.pauseTry(), l.notifyWait()
	return func(goesOn bool) {
		waited(goesOn)
		_ = resume() // the answer has come, whatever was closed meanwhile
	}
}

// decoded returns an answer's body and its size, which is -1 if it is unknown. tagpin accepts no
// encoding, but some registries compress all that they send (serverless-registry#136).
func (l *lookup) decoded(resp *http.Response) (body io.Reader, size int64, err error) {
	switch resp.Header.Get("Content-Encoding") {
	case "", "identity":
		return resp.Body, resp.ContentLength, nil
	case "gzip":
		body, err := newInflated(resp.Body)
		if err != nil {
			return nil, 0, l.broken(err)
		}
		return body, -1, nil
	}
	return nil, 0, l.undecodable()
}

func (l *lookup) undecodable() error {
	return l.invalid("the %s can't be decoded; see its header Content-Encoding",
		cmp.Or(l.resource.what, "manifest"))
}

// errEncoding reports a body that is not encoded as its header says.
var errEncoding = errors.New("wrong encoding")

// inflated is a body that was compressed by gzip. Little more is read than comes out, since empty
// blocks have no end and cost time: at most freeBody bytes and an eighth. Bytes that can't be
// compressed, such as those of most layers, get longer by a part of their length.
type inflated struct {
	*gzip.Reader
	compressed compressed
}

// compressed is the body as it was sent.
type compressed struct {
	io.Reader
	left  int64 // bytes that may be read, in eighths
	ended bool  // none is left, or the body ended as its header says
}

func newInflated(body io.Reader) (*inflated, error) {
	i := &inflated{compressed: compressed{Reader: body, left: 8 * freeBody}}
	var err error
	if i.Reader, err = gzip.NewReader(&i.compressed); err != nil {
		return nil, i.compressed.cause(err)
	}
	i.Multistream(false)
	i.Extra = nil // which may have 64 KiB
	return i, nil
}

// Read implements io.Reader.
func (i *inflated) Read(p []byte) (int, error) {
	n, err := i.Reader.Read(p)
	i.compressed.left += 9 * int64(n)
	if err == nil || err == io.EOF { //nolint:errorlint // as io.Reader has it
		return n, err
	}
	return n, i.compressed.cause(err)
}

// Read implements io.Reader.
func (c *compressed) Read(p []byte) (int, error) {
	room := int(min(c.left/8, int64(len(p))))
	if room == 0 && len(p) > 0 {
		c.ended = true
		return 0, io.EOF
	}
	n, err := c.Reader.Read(p[:room])
	c.left -= 8 * int64(n)
	c.ended = c.ended || err == io.EOF
	return n, err
}

// cause returns errEncoding for an error that the network has not caused.
func (c *compressed) cause(err error) error {
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	if corrupt || c.ended || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		return errEncoding
	}
	return err
}

// broken returns the error of a body that ended too early.
func (l *lookup) broken(err error) error {
	if errors.Is(err, errEncoding) {
		return l.undecodable()
	}
	return l.unanswered(err, cmp.Or(l.via, l.api()), network.Broken)
}

// noRoom returns the error of a manifest that got no room in time. which names the manifests that
// take the room.
func (l *lookup) noRoom(which string, err error) error {
	return &requestError{
		host: l.Name, via: l.via, err: errors.Join(errNoRoom, err), ofNamespace: true,
		reason: "its manifest was not read, since too many " + which + "are being read; try again",
	}
}
