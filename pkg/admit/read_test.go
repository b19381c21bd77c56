// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// large returns the review of a pod of about n bytes in a namespace, in the order of an API server.
// Its image is nginx, or another one.
func large(namespace string, n int, image ...string) []byte {
	image = append(image, "nginx")
	return fmt.Appendf(nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":"","version":"v1","kind":"Pod"},
		"name":"p","namespace":%q,"operation":"CREATE","userInfo":{"username":"jane"},"object":{"metadata":{"annotations":{"x":%q}},
		"spec":{"containers":[{"name":"a","image":%q}]}},"oldObject":null}}`, namespace, strings.Repeat("x", n), image[0])
}

// stalledBody is the body of a request whose end comes when the test says so, and the recorder of
// its answer.
type stalledBody struct {
	*httptest.ResponseRecorder
	io.Reader
	end      <-chan struct{}
	deadline time.Time
}

func (s *stalledBody) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	select {
	case <-s.end:
		return n, err
	case <-time.After(time.Until(s.deadline)):
		return n, os.ErrDeadlineExceeded
	}
}

// SetReadDeadline is called by http.ResponseController.
func (s *stalledBody) SetReadDeadline(t time.Time) error {
	s.deadline = t
	return nil
}

// pending is a channel for the answer to a review.
type pending <-chan *httptest.ResponseRecorder

// send sends a review whose end comes later, and returns its answer.
func send(h http.Handler, body []byte, end <-chan struct{}) pending {
	return sendFrom("192.0.2.1:1234", h, body, end)
}

func sendFrom(peer string, h http.Handler, body []byte, end <-chan struct{}) pending {
	s := &stalledBody{
		ResponseRecorder: httptest.NewRecorder(), Reader: bytes.NewReader(body), end: end,
	}
	r := newRequest(context.Background(), s)
	r.ContentLength = int64(len(body))
	r.RemoteAddr = peer
	answers := make(chan *httptest.ResponseRecorder, 1)
	go func() {
		h.ServeHTTP(s, r)
		answers <- s.ResponseRecorder
	}()
	synctest.Wait()
	return answers
}

// sendLength sends a whole review with a Content-Length.
func sendLength(h http.Handler, body []byte, length int64) pending {
	r := newRequest(context.Background(), bytes.NewReader(body))
	r.ContentLength = length
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	answers := make(chan *httptest.ResponseRecorder, 1)
	answers <- w
	return answers
}

// responseFrom waits for an answer and decodes it.
func responseFrom(t *testing.T, answers pending) *admissionv1.AdmissionResponse {
	t.Helper()
	w := <-answers
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil || review.Response == nil {
		t.Fatalf("status %d, body %q: %v", w.Code, w.Body, err)
	}
	return review.Response
}

// TestStalledReviews checks that a sender that stalls in the middle of large reviews, each of
// another namespace, takes only the share of its own address, and not for long. Small reviews and
// those of an API server don't wait for it.
func TestStalledReviews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, policy.Enforce, registry)
		h.Reviews = &fair.Groups{Capacity: 8 * mebi, Share: 4 * mebi, Backlog: 8}
		never, open := make(chan struct{}), make(chan struct{})
		close(open)
		var stalled []pending
		for i := range 8 {
			body := large(fmt.Sprint("made-up-", i), 3*mebi)
			stalled = append(stalled, sendFrom("198.51.100.7:1", h, body, never))
		}
		if s := h.Reviews.Stats(); s.InUse > 4*mebi || s.Waiting != 7 {
			t.Fatalf("of eight large reviews: %+v, want one of them to be read", s)
		}
		start := time.Now()
		for name, answers := range map[string]pending{
			"of an API server": send(h, large("team", 3*mebi), open),
			"small":            sendFrom("198.51.100.7:2", h, large("team", 1000), open),
		} {
			if r := responseFrom(t, answers); !r.Allowed || r.Patch == nil {
				t.Errorf("%s: %+v, want it pinned meanwhile", name, r.Result)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("others waited for %s, want no wait", took)
		}
		if w := <-stalled[0]; w.Code != http.StatusBadRequest {
			t.Errorf("a stalled review: status %d, body %s, want 400", w.Code, w.Body)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("a stalled review has its place for %s, want at most 5s", took)
		}
		for _, answers := range stalled[1:] {
			<-answers
		}
		if s := h.Reviews.Stats(); s.InUse != 0 || s.Waiting != 0 {
			t.Errorf("in the end: %+v, want nothing in use", s)
		}
	})
}

// TestLargeReviewsWithoutTurn checks that a large review whose turn does not come in time is denied
// or, in the mode dry-run, admitted, with the reason.
func TestLargeReviewsWithoutTurn(t *testing.T) {
	const timedOut = "large object of namespace loud got no turn in time"
	for mode, allowed := range allowedIn {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHandler(t, mode, registry)
				h.Reviews = &fair.Groups{Capacity: 4 * mebi, Backlog: 2}
				never, open := make(chan struct{}), make(chan struct{})
				close(open)
				loud, modest := large("loud", 3*mebi), large("modest", 3*mebi)
				stalled := []pending{send(h, loud, never), send(h, loud, never)}
				third, fourth := send(h, loud, open), send(h, loud, open)
				stalled = append(stalled, send(h, modest, never)) // its turn is before that of the third one
				for _, tt := range []struct {
					answers pending
					text    string
				}{
					{fourth, "too many large objects of namespace loud are waiting"},
					{third, timedOut},
				} {
					r := responseFrom(t, tt.answers)
					text := strings.Join(r.Warnings, "")
					if r.Result != nil {
						text = r.Result.Message
					}
					if r.Allowed != allowed || r.UID != "u" || !strings.Contains(text, tt.text) {
						t.Errorf("answer %+v, want allowed %t and %q", r, allowed, tt.text)
					}
					if !allowed && r.Result.Code != http.StatusTooManyRequests {
						t.Errorf("code %d, want 429", r.Result.Code)
					}
				}
				for _, answers := range stalled {
					<-answers
				}
			})
		})
	}
}

// TestReviewIsForgottenBeforeLookups checks that a review is dropped before its images are looked
// up, so that a registry that hangs keeps no reviews in memory.
func TestReviewIsForgottenBeforeLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan struct{}, 1)
		hangs := func(ctx context.Context, _ resolve.Request) (resolve.Result, error) {
			asked <- struct{}{}
			<-ctx.Done()
			return resolve.Result{}, failure.Unavailable
		}
		h := newHandler(t, policy.Enforce, resolve.Func(hangs))
		h.Reviews = &fair.Groups{Capacity: 10 * mebi}
		end := make(chan struct{})
		close(end)
		answers := send(h, large("team", 3*mebi), end)
		<-asked
		if s := h.Reviews.Stats(); s.InUse != 0 {
			t.Errorf("%d bytes are in use while a registry is asked, want 0", s.InUse)
		}
		if r := responseFrom(t, answers); r.Allowed {
			t.Error("allowed without a digest, want it denied")
		}
	})
}

// TestLateNamespace checks that a large review gets no place if its namespace does not come soon,
// and is answered: the API server calls webhooks before it checks the name of an object.
func TestLateNamespace(t *testing.T) {
	for mode, allowed := range allowedIn {
		h := newHandler(t, mode, registry)
		h.Reviews = &fair.Groups{Capacity: 32 * mebi, Share: 16 * mebi}
		body := named(large("team", 2*mebi), strings.Repeat("p", 70<<10))
		r, code := post(t, h, body)
		if code != http.StatusOK || r.Allowed != allowed || r.UID != "u" {
			t.Fatalf("%s: status %d, answer %+v, want allowed %t", mode, code, r, allowed)
		}
		text := strings.Join(r.Warnings, "")
		if !allowed {
			text = r.Result.Message
		}
		if !strings.Contains(text, "the object's name is too long") {
			t.Errorf("%s: %q, want the reason", mode, text)
		}
		if s := h.Reviews.Stats(); s != (fair.Stats{Capacity: 32 * mebi}) {
			t.Errorf("%s: %+v, want that it never had a place", mode, s)
		}
		wantReason(t, h, body, map[bool]string{true: "not-reviewed", false: "denied"}[allowed], "unreadable")
	}
}

// named returns a review with another name of its object.
func named(review []byte, name string) []byte {
	return bytes.Replace(review, []byte(`"name":"p"`), []byte(`"name":"`+name+`"`), 1)
}

// TestLongNameOfObject checks that an object is pinned, however long its name is, and that the log
// has the beginning of the name. The API server refuses the name after the webhooks.
func TestLongNameOfObject(t *testing.T) {
	for _, size := range []int{254, 4097, 30 << 10} {
		for mode := range allowedIn {
			h := newHandler(t, mode, unreachable)
			h.OnFailure = onFailure(failure.Allow)
			body := named(large("team", 100), strings.Repeat("n", size))
			if r, code := post(t, h, body); code != http.StatusOK || !r.Allowed {
				t.Errorf("%s, %d bytes: status %d, answer %+v, want it allowed", mode, size, code, r)
			}
			for message, lines := range postLogged(t, h, body) {
				for _, line := range lines {
					if name := fmt.Sprint(line["name"]); name == "" || len(name) > 253 {
						t.Errorf("%s, %d bytes: the line %q has %d of them", mode, size, message, len(name))
					}
				}
			}
		}
	}
}

// TestLengthOfReviews checks that a review without a length takes the place of the largest one. A
// review that has another length than it says, or is too large, is answered without its objects.
func TestLengthOfReviews(t *testing.T) {
	large, huge := large("team", 2*mebi), large("team", 17*mebi)
	for name, tt := range map[string]struct {
		body     []byte
		declared int64
		want     int32 // 0 if it is pinned
	}{
		"unknown":            {large, -1, 0},
		"unknown, too large": {huge, -1, http.StatusRequestEntityTooLarge},
		"less than it has":   {large, mebi, http.StatusBadRequest},
		"more than it has":   {large, 3 * mebi, 0}, // in a server, net/http returns an error
		"more than is read":  {huge, int64(len(huge)), http.StatusRequestEntityTooLarge},
		"less, and not JSON": {large[:mebi], mebi, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			for _, mode := range []policy.Mode{policy.Enforce, policy.Propose} {
				allowed := allowedIn[mode] || tt.want == 0
				h := newHandler(t, mode, registry)
				h.Reviews = &fair.Groups{Capacity: 20 * mebi}
				answer := responseFrom(t, sendLength(h, tt.body, tt.declared))
				if answer.Allowed != allowed || answer.UID != "u" || !allowed && answer.Result.Code != tt.want {
					t.Errorf("%s: answer %+v, want allowed %t, code %d", mode, answer, allowed, tt.want)
				}
				if s := h.Reviews.Stats(); s.InUse != 0 {
					t.Errorf("%d bytes are still in use, want 0", s.InUse)
				}
			}
		})
	}
}

// TestHugeReviewIsNotHeld checks that a review that is too large is never in memory as a whole. It
// is read until its end, so that its sender gets an answer.
func TestHugeReviewIsNotHeld(t *testing.T) {
	h := newHandler(t, policy.Enforce, registry)
	body := large("team", 36*mebi)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	answer := responseFrom(t, sendLength(h, body, int64(len(body))))
	runtime.ReadMemStats(&after)
	if answer.Allowed || !strings.Contains(answer.Result.Message, "more than 16 MiB") {
		t.Errorf("answer %+v, want it denied with the reason", answer.Result)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > mebi {
		t.Errorf("%d bytes were allocated, want at most 1 MiB", used)
	}
}
