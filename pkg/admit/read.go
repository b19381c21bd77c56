// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	// MaxReview bounds a review that is read: the API server takes objects of 3 MiB, an update has two,
	// and JSON may be larger than the protobuf that was bounded.
	MaxReview = 16 << 20
	// maxDiscard bounds a review that is not read. The API server writes some characters, such as <, as
	// six bytes, so that two objects of 3 MiB make 36 MiB.
	maxDiscard = 64 << 20
	// smallReview is how much of a review is read without a place in Reviews. Nearly all reviews are
	// smaller, so that they never wait for the large ones of others. An API server puts the namespace
	// before the objects, so that it is known by then.
	smallReview = 32 << 10
	// discardTime is kept of the budget to read the rest of a review that got no place.
	discardTime = time.Second / 2
	// uploadTime is how long the rest of a large review may take to come once it has its place, so
	// that a caller that stalls holds nothing for long. An API server has all of it at hand.
	uploadTime = 3 * time.Second
)

// read takes the review from the request, which has to come until end. A review of which only the
// beginning could be read says why, and has none of its objects.
func (h *Handler) read(ctx context.Context, w http.ResponseWriter, r *http.Request, end time.Time) (_ *review, err error) {
	if r.Method != http.MethodPost {
		return nil, fmt.Errorf("method %s: want POST", truncate(r.Method))
	}
	if mime, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(mime) != "application/json" {
		return nil, fmt.Errorf("content type %q: want application/json", truncate(mime))
	}
	// A caller that sends nothing holds a connection until end at most, and memory only for what has
	// come. A recorder in a test knows no deadlines.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(end)
	defer func() {
		if err != nil { // net/http reads what is left of a body after the answer
			_ = control.SetReadDeadline(time.Now())
		}
	}()
	from := upload{http.MaxBytesReader(w, r.Body, maxDiscard), control, end}
	room := int64(smallReview)
	if r.ContentLength >= 0 {
		room = min(room, r.ContentLength+1) // one more shows that this is all
	}
	body, whole, err := fill(make([]byte, 0, room), from)
	switch {
	case err != nil:
		return nil, err
	case whole:
		return parseReview(body)
	}
	rv, err := parseHead(body)
	if err != nil {
		return nil, err
	}
	full, err := h.readLarge(ctx, r, rv.Namespace, body, from)
	if err == nil || rv.UID == "" {
		return full, err
	}
	rv.unread = err
	return rv, from.discard()
}

// upload is a request's body as it comes, until end.
type upload struct {
	io.Reader

	control *http.ResponseController
	end     time.Time
}

// discard reads what is left: a connection that is closed before that would be a failure to its
// caller, and not an answer. There is no caller left if that takes too long.
func (u upload) discard() error {
	_ = u.control.SetReadDeadline(u.end)
	if _, err := io.Copy(io.Discard, u); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	return nil
}

// errTooLarge reports a review of more than MaxReview bytes.
var errTooLarge = fmt.Errorf("larger than %d bytes", MaxReview)

// readLarge reads the rest of a review whose first bytes are in head.
func (h *Handler) readLarge(ctx context.Context, r *http.Request, namespace string, head []byte, from upload) (*review, error) {
	size := r.ContentLength
	switch {
	case size > MaxReview:
		return nil, errTooLarge
	case size < int64(len(head)):
		size = MaxReview // it is not known
	}
	leave := func() {}
	if h.Reviews != nil {
		ctx, cancel := context.WithDeadline(ctx, from.end.Add(-discardTime))
		defer cancel()
		var err error
		if leave, err = h.Reviews.Enter(ctx, peer(r), namespace, size); err != nil {
			return nil, err
		}
		if soon := time.Now().Add(uploadTime); soon.Before(from.end) {
			_ = from.control.SetReadDeadline(soon)
		}
	}
	kept := false
	defer func() { // also after a panic
		if !kept {
			leave()
		}
	}()
	body, whole, err := fill(append(make([]byte, 0, size+1), head...), from)
	switch {
	case err != nil:
		return nil, err
	case !whole && r.ContentLength < 0:
		return nil, errTooLarge
	case !whole:
		return nil, errors.New("the review is larger than its Content-Length")
	}
	rv, err := parseReview(body)
	if err != nil {
		return nil, err
	}
	rv.leave, kept = leave, true
	return rv, nil
}

// peer is the address that a request comes from.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// fill reads until body is full. whole reports that there was no more to read.
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

// drop forgets the objects as they came, and gives back their place.
func (rv *review) drop() {
	rv.Object, rv.Old = nil, nil
	if rv.leave != nil {
		rv.leave()
		rv.leave = nil
	}
}

// templatesChanged reports for each pod spec of an update whether more than images differs from the
// template before. A Pod has no template.
func (rv *review) templatesChanged(o *workload.Object) []bool {
	if rv.Old == nil || o.Kind == (workload.Kind{Kind: "Pod"}) {
		return make([]bool, len(o.PodSpecs))
	}
	return workload.TemplatesChanged(rv.Old, rv.Object, o.PodSpecs)
}
