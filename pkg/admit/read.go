// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// MaxReview is the greatest size of a review that is read, in bytes. The API server accepts
	// objects of 3 MiB, an update has two of them, and they may be larger as JSON than as the protobuf
	// that the API server measured.
	MaxReview = 16 << 20
	// maxDiscard is the greatest size of a review that is discarded. The API server writes some
	// characters, such as <, as six bytes, so that two objects of 3 MiB become 36 MiB.
	maxDiscard = 64 << 20
	// smallReview is how much of a review is read without a place in Handler.Reviews. Nearly all
	// reviews are smaller, so they never wait for the large ones of others. An API server writes the
	// namespace before the objects, so it is known by then.
	smallReview = 32 << 10
	// discardTime is reserved for reading the rest of a review that got no place.
	discardTime = time.Second / 2
	// uploadTime is how long the rest of a large review may take once it has its place, so that a
	// sender that stalls does not keep it for long. An API server has the whole review ready.
	uploadTime = 3 * time.Second
)

// errTooLarge is the reason why a review of more than MaxReview bytes is not read.
var errTooLarge = fmt.Errorf("larger than %d bytes", MaxReview)

// upload is the body of a request, which must arrive before end.
type upload struct {
	io.Reader

	size    int64 // according to the header, or negative
	control *http.ResponseController
	end     time.Time
}

// read reads the review in a request, which must arrive before end. If the review can be answered,
// but not be read as a whole, the result has the reason in unread, and no objects.
func (h *Handler) read(
	ctx context.Context, w http.ResponseWriter, r *http.Request, end time.Time,
) (rv *review, err error) {
	if r.Method != http.MethodPost {
		return nil, fmt.Errorf("method %s: want POST", truncate(r.Method, maxWarning))
	}
	mime, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if strings.TrimSpace(mime) != "application/json" {
		return nil, fmt.Errorf("content type %q: want application/json", truncate(mime, maxWarning))
	}
	// A sender that stalls keeps its connection until end. It holds more than smallReview only with a
	// place in Reviews, for uploadTime at most. The errors are ignored, because the recorder of a test
	// has no deadlines.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(end)
	defer func() {
		if err != nil { // net/http would read the rest of the body after the answer
			_ = control.SetReadDeadline(time.Now())
		}
	}()
	from := upload{http.MaxBytesReader(w, r.Body, maxDiscard), r.ContentLength, control, end}
	capacity := int64(smallReview)
	if from.size >= 0 {
		capacity = min(capacity, from.size+1) // one more byte shows that this is all
	}
	head, whole, err := fill(make([]byte, 0, capacity), from)
	switch {
	case err != nil:
		return nil, err
	case whole:
		rv, err = parseReview(head)
	default:
		rv, err = h.readLarge(ctx, peer(r), head, from)
	}
	if err == nil {
		rv.peer = peer(r)
	}
	return rv, err
}

// readLarge reads a review whose first bytes are in head. If the rest can't be read, it is
// discarded.
func (h *Handler) readLarge(
	ctx context.Context, peer string, head []byte, from upload,
) (*review, error) {
	beginning, err := parseHead(head)
	if err != nil {
		return nil, err
	}
	if beginning.unread == nil {
		rv, err := h.readRest(ctx, peer, beginning.Namespace, head, from)
		if err == nil {
			return rv, nil
		}
		beginning.unread = err
	}
	return beginning, from.discard()
}

// readRest reads a whole review whose first bytes are in head, after it got its place in Reviews.
func (h *Handler) readRest(
	ctx context.Context, peer, namespace string, head []byte, from upload,
) (rv *review, err error) {
	size := from.size
	switch {
	case size > MaxReview:
		return nil, errTooLarge
	case size < int64(len(head)):
		size = MaxReview // the real size is not known
	}
	ctx, cancel := context.WithDeadline(ctx, from.end.Add(-discardTime))
	defer cancel()
	leave, err := h.Reviews.Enter(ctx, peer, namespace, size)
	if err != nil {
		return nil, err
	}
	if soon := time.Now().Add(uploadTime); soon.Before(from.end) {
		_ = from.control.SetReadDeadline(soon)
	}
	defer func() {
		if rv == nil { // also after a panic
			leave()
		}
	}()
	body, whole, err := fill(append(make([]byte, 0, size+1), head...), from)
	switch {
	case err != nil:
		return nil, err
	case !whole && from.size < 0:
		return nil, errTooLarge
	case !whole:
		return nil, errors.New("the review is larger than its Content-Length")
	}
	parsed, err := parseReview(body)
	if err != nil {
		return nil, err
	}
	parsed.leave = leave
	return parsed, nil
}

// discard reads the rest of a body. If the connection were closed before, the sender would see a
// failure instead of the answer. If it takes too long, there is no sender left.
func (u upload) discard() error {
	_ = u.control.SetReadDeadline(u.end)
	if _, err := io.Copy(io.Discard, u); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	return nil
}

// fill reads until body is full. whole reports whether that was all.
func fill(body []byte, from io.Reader) (_ []byte, whole bool, err error) {
	for len(body) < cap(body) {
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, true, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("reading the request: %w", err)
		}
	}
	return body, false, nil
}
