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
	"strings"
	"testing"
	"testing/synctest"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/resolve"
)

const mebi = 1 << 20

// large is the review of a pod of about n bytes in a namespace, in the order of an API server.
func large(namespace string, n int) []byte {
	return fmt.Appendf(nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":"","version":"v1","kind":"Pod"},
		"name":"p","namespace":%q,"operation":"CREATE","userInfo":{"username":"jane"},"object":{"metadata":{"annotations":{"x":%q}},
		"spec":{"containers":[{"name":"a","image":"nginx"}]}},"oldObject":null}}`, namespace, strings.Repeat("x", n))
}

// slow is a body whose end comes when the test says so.
type slow struct {
	io.Reader
	end chan struct{}
}

func (s *slow) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		<-s.end
	}
	return n, err
}

// send sends a review whose end comes later. Its answer is in the channel then.
func send(h http.Handler, body []byte, end chan struct{}) <-chan *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/enforce?timeout=10s", &slow{bytes.NewReader(body), end})
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = int64(len(body))
	answers := make(chan *httptest.ResponseRecorder, 1)
	go func() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		answers <- w
	}()
	synctest.Wait()
	return answers
}

func responseOf(t *testing.T, answers <-chan *httptest.ResponseRecorder) *admissionv1.AdmissionResponse {
	t.Helper()
	w := <-answers
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil || review.Response == nil {
		t.Fatalf("answer %d %q: %v", w.Code, w.Body, err)
	}
	return review.Response
}

// The large reviews of one namespace share its bytes; small ones, and those of other namespaces, do not
// wait for them. What waits too long is denied with the reason.
func TestLargeReviewsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, pin.Enforce, registry)
		h.Reviews = &fair.Queue{Capacity: 10 * mebi, Share: 4 * mebi, Backlog: 8}
		end, open := make(chan struct{}), make(chan struct{})
		close(open)
		first := send(h, large("loud", 3*mebi), end)
		waiting := []<-chan *httptest.ResponseRecorder{
			send(h, large("loud", 3*mebi), open), send(h, large("loud", 3*mebi), open),
		}
		if s := h.Reviews.Stats(); s.InUse > 4*mebi || s.InUse < 3*mebi || s.Waiting != 2 {
			t.Fatalf("of three large reviews %+v, want one of them to be read", s)
		}
		for name, body := range map[string][]byte{"small": large("loud", 1000), "another namespace": large("modest", 3*mebi)} {
			if r := responseOf(t, send(h, body, open)); !r.Allowed || r.Patch == nil {
				t.Errorf("%s: %+v, want it pinned meanwhile", name, r.Result)
			}
		}
		for _, answers := range waiting {
			r := responseOf(t, answers)
			if r.Allowed || r.Result.Code != http.StatusTooManyRequests || r.UID != "u" || !strings.Contains(r.Result.Message, "namespace loud") {
				t.Errorf("what waited too long: %+v, want it denied with the reason", r.Result)
			}
		}
		close(end)
		<-first
		if s := h.Reviews.Stats(); s.InUse != 0 || s.Waiting != 0 {
			t.Errorf("in the end %+v", s)
		}
	})
}

// A review is forgotten before its images are looked up: a registry that hangs holds no review.
func TestReviewIsForgottenBeforeLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan struct{}, 1)
		h := newHandler(t, pin.Enforce, resolve.Func(func(ctx context.Context, _ resolve.Request) (resolve.Result, error) {
			asked <- struct{}{}
			<-ctx.Done()
			return resolve.Result{}, resolve.ErrUnavailable
		}))
		h.Reviews = &fair.Queue{Capacity: 10 * mebi}
		end := make(chan struct{})
		close(end)
		answers := send(h, large("team", 3*mebi), end)
		<-asked
		if s := h.Reviews.Stats(); s.InUse != 0 {
			t.Errorf("%d bytes are held while a registry is asked", s.InUse)
		}
		if r := responseOf(t, answers); r.Allowed {
			t.Error("allowed without a digest")
		}
	})
}

// Without its length a review has the place of the largest one; more than it said is refused.
func TestLengthOfReviews(t *testing.T) {
	for name, tt := range map[string]struct {
		declared int64
		want     int
	}{"unknown": {-1, http.StatusOK}, "less than it has": {mebi, http.StatusBadRequest}, "more than there may be": {1 << 30, http.StatusRequestEntityTooLarge}} {
		t.Run(name, func(t *testing.T) {
			h := newHandler(t, pin.Enforce, registry)
			h.Reviews = &fair.Queue{Capacity: 20 * mebi}
			body := large("team", 2*mebi)
			if tt.want == http.StatusRequestEntityTooLarge {
				body = large("team", 20*mebi)
			}
			r := httptest.NewRequest(http.MethodPost, "/enforce", bytes.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			r.ContentLength = tt.declared
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("answer %d %.100s, want %d", w.Code, w.Body, tt.want)
			}
			if s := h.Reviews.Stats(); s.InUse != 0 {
				t.Errorf("%d bytes are still held", s.InUse)
			}
		})
	}
}

// The images of the large objects of one namespace share its places while they are looked up; objects
// with few images, and those of other namespaces, do not wait for them.
func TestImagesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resolver := func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
			if strings.HasPrefix(req.Ref.Text(), "hangs") {
				<-ctx.Done()
				return resolve.Result{}, resolve.ErrUnavailable
			}
			return registry(ctx, req)
		}
		h := newHandler(t, pin.Enforce, resolve.Func(resolver))
		h.Images = &fair.Queue{Capacity: 500, Share: 200, Backlog: 8}
		open := make(chan struct{})
		close(open)
		many := func(namespace, image string, images int) <-chan *httptest.ResponseRecorder {
			containers := make([]string, images)
			for i := range containers {
				containers[i] = fmt.Sprintf(`{"name":"c%d","image":%q}`, i, image)
			}
			return send(h, fmt.Appendf(nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1",
				"request":{"uid":"u","kind":{"kind":"Pod"},"namespace":%q,"operation":"CREATE",
				"object":{"spec":{"containers":[%s]}}}}`, namespace, strings.Join(containers, ",")), open)
		}
		first := many("loud", "hangs", 150)
		second := many("loud", "nginx", 150)
		if s := h.Images.Stats(); s.InUse != 150 || s.Waiting != 1 {
			t.Fatalf("of two large objects %+v, want the images of one of them", s)
		}
		for name, answers := range map[string]<-chan *httptest.ResponseRecorder{
			"few images":        many("loud", "nginx", 64),
			"another namespace": many("modest", "nginx", 150),
		} {
			if r := responseOf(t, answers); !r.Allowed || r.Patch == nil {
				t.Errorf("%s: %+v, want it pinned meanwhile", name, r.Result)
			}
		}
		r := responseOf(t, second)
		if r.Allowed || r.Result.Code != http.StatusTooManyRequests {
			t.Errorf("what waited too long: %+v, want it denied as one too many", r.Result)
		}
		if !strings.Contains(r.Result.Message, "namespace loud") {
			t.Errorf("the denial says %q, want it to name the namespace", r.Result.Message)
		}
		responseOf(t, first)
		if s := h.Images.Stats(); s.InUse != 0 || s.Waiting != 0 {
			t.Errorf("in the end %+v", s)
		}
	})
}
