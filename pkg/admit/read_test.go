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

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve"
)

const mebi = 1 << 20

// large is the review of a pod of about n bytes in a namespace, in the order of an API server. Its
// image is nginx, or another one.
func large(namespace string, n int, image ...string) []byte {
	image = append(image, "nginx")
	return fmt.Appendf(nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":"","version":"v1","kind":"Pod"},
		"name":"p","namespace":%q,"operation":"CREATE","userInfo":{"username":"jane"},"object":{"metadata":{"annotations":{"x":%q}},
		"spec":{"containers":[{"name":"a","image":%q}]}},"oldObject":null}}`, namespace, strings.Repeat("x", n), image[0])
}

// slow is a request's body whose end comes when the test says so, and its answer.
type slow struct {
	*httptest.ResponseRecorder
	io.Reader
	end      <-chan struct{}
	deadline time.Time
}

func (s *slow) Read(p []byte) (int, error) {
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

// SetReadDeadline is what http.ResponseController calls.
func (s *slow) SetReadDeadline(t time.Time) error {
	s.deadline = t
	return nil
}

// send sends a review whose end comes later. Its answer is in the channel then.
func send(h http.Handler, body []byte, end <-chan struct{}) <-chan *httptest.ResponseRecorder {
	return sendFrom("192.0.2.1:1234", h, body, end)
}

func sendFrom(peer string, h http.Handler, body []byte, end <-chan struct{}) <-chan *httptest.ResponseRecorder {
	s := &slow{ResponseRecorder: httptest.NewRecorder(), Reader: bytes.NewReader(body), end: end}
	r := httptest.NewRequest(http.MethodPost, "/enforce?timeout=10s", s)
	r.Header.Set("Content-Type", "application/json")
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

func responseOf(t *testing.T, answers <-chan *httptest.ResponseRecorder) *admissionv1.AdmissionResponse {
	t.Helper()
	w := <-answers
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil || review.Response == nil {
		t.Fatalf("answer %d %q: %v", w.Code, w.Body, err)
	}
	return review.Response
}

// A caller that stalls in the middle of large reviews, each of another namespace, holds the share
// of its own address and nothing for long: neither small reviews nor those of an API server wait
// for it.
func TestStalledReviews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, policy.Enforce, registry)
		h.Reviews = &fair.Groups{Capacity: 8 * mebi, Share: 4 * mebi, Backlog: 8}
		never, open := make(chan struct{}), make(chan struct{})
		close(open)
		var stalled []<-chan *httptest.ResponseRecorder
		for i := range 8 {
			stalled = append(stalled, sendFrom("198.51.100.7:1", h, large(fmt.Sprint("made-up-", i), 3*mebi), never))
		}
		if s := h.Reviews.Stats(); s.InUse > 4*mebi || s.Waiting != 7 {
			t.Fatalf("of eight large reviews %+v, want one of them to be read", s)
		}
		start := time.Now()
		for name, answers := range map[string]<-chan *httptest.ResponseRecorder{
			"of an API server": send(h, large("team", 3*mebi), open),
			"small":            sendFrom("198.51.100.7:2", h, large("team", 1000), open),
		} {
			if r := responseOf(t, answers); !r.Allowed || r.Patch == nil {
				t.Errorf("%s: %+v, want it pinned meanwhile", name, r.Result)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("others waited for %s", took)
		}
		if w := <-stalled[0]; w.Code != http.StatusBadRequest {
			t.Errorf("what stalls: %d %s, want it refused", w.Code, w.Body)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("what stalls is held for %s", took)
		}
		for _, answers := range stalled[1:] {
			<-answers
		}
		if s := h.Reviews.Stats(); s.InUse != 0 || s.Waiting != 0 {
			t.Errorf("in the end %+v", s)
		}
	})
}

// A large review that gets no turn in time is denied with the reason, and in dry-run admitted with
// it.
func TestLargeReviewsWithoutTurn(t *testing.T) {
	const timedOut = "large object of namespace loud got no turn in time"
	for mode, allowed := range map[policy.Mode]bool{policy.Enforce: false, policy.Keep: false, policy.Propose: true} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHandler(t, mode, registry)
				h.Reviews = &fair.Groups{Capacity: 4 * mebi, Backlog: 2}
				never, open := make(chan struct{}), make(chan struct{})
				close(open)
				stalled := []<-chan *httptest.ResponseRecorder{send(h, large("loud", 3*mebi), never), send(h, large("loud", 3*mebi), never)}
				third, fourth := send(h, large("loud", 3*mebi), open), send(h, large("loud", 3*mebi), open)
				stalled = append(stalled, send(h, large("modest", 3*mebi), never)) // whose turn is before the third's
				for _, tt := range []struct {
					answers <-chan *httptest.ResponseRecorder
					text    string
				}{
					{fourth, "too many large objects of namespace loud are waiting"},
					{third, timedOut},
				} {
					r := responseOf(t, tt.answers)
					text := strings.Join(r.Warnings, "")
					if r.Result != nil {
						text = r.Result.Message
					}
					if r.Allowed != allowed || r.UID != "u" || !strings.Contains(text, tt.text) {
						t.Errorf("answer %+v, want allowed %t: %s", r, allowed, tt.text)
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

// A review is forgotten before its images are looked up: a registry that hangs holds no review.
func TestReviewIsForgottenBeforeLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan struct{}, 1)
		h := newHandler(t, policy.Enforce, resolve.Func(func(ctx context.Context, _ resolve.Request) (resolve.Result, error) {
			asked <- struct{}{}
			<-ctx.Done()
			return resolve.Result{}, resolve.ErrUnavailable
		}))
		h.Reviews = &fair.Groups{Capacity: 10 * mebi}
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

// A review whose name is so long that the namespace does not come soon gets no place.
func TestLongNameBeforeTheNamespace(t *testing.T) {
	h := newHandler(t, policy.Enforce, registry)
	h.Reviews = &fair.Groups{Capacity: 32 * mebi, Share: 16 * mebi}
	body := bytes.Replace(large("team", 2*mebi), []byte(`"name":"p"`), []byte(`"name":"`+strings.Repeat("p", 70<<10)+`"`), 1)
	if _, code := post(t, h, body); code != http.StatusBadRequest {
		t.Errorf("status %d, want 400", code)
	}
	if s := h.Reviews.Stats(); s != (fair.Stats{Capacity: 32 * mebi}) {
		t.Errorf("%+v, want that it was never let in", s)
	}
}

// Without its length a review has the place of the largest one. One that has another length than it
// says, or that is too large, is answered without its objects.
func TestLengthOfReviews(t *testing.T) {
	large, huge := large("team", 2*mebi), large("team", 17*mebi)
	for name, tt := range map[string]struct {
		body     []byte
		declared int64
		want     int32 // 0: it is pinned
	}{
		"unknown":              {large, -1, 0},
		"unknown, too large":   {huge, -1, http.StatusRequestEntityTooLarge},
		"less than it has":     {large, mebi, http.StatusBadRequest},
		"more than it has":     {large, 3 * mebi, 0}, // net/http gives an error for that
		"more than is read":    {huge, int64(len(huge)), http.StatusRequestEntityTooLarge},
		"less, and is no JSON": {large[:mebi], mebi, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			for mode, allowed := range map[policy.Mode]bool{policy.Enforce: tt.want == 0, policy.Propose: true} {
				h := newHandler(t, mode, registry)
				h.Reviews = &fair.Groups{Capacity: 20 * mebi}
				answer := responseOf(t, sendLength(h, tt.body, tt.declared))
				if answer.Allowed != allowed || answer.UID != "u" || !allowed && answer.Result.Code != tt.want {
					t.Errorf("%s: answer %+v, want allowed %t, code %d", mode, answer, allowed, tt.want)
				}
				if s := h.Reviews.Stats(); s.InUse != 0 {
					t.Errorf("%d bytes are still held", s.InUse)
				}
			}
		})
	}
}

// What is too large is never held: it is read in small parts until its end, so that its caller gets
// an answer.
func TestHugeReviewIsNotHeld(t *testing.T) {
	h := newHandler(t, policy.Enforce, registry)
	body := large("team", 36*mebi)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	answer := responseOf(t, sendLength(h, body, int64(len(body))))
	runtime.ReadMemStats(&after)
	if answer.Allowed || !strings.Contains(answer.Result.Message, "larger than 16777216 bytes") {
		t.Errorf("answer %+v, want it denied with the reason", answer.Result)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > mebi {
		t.Errorf("%d bytes were allocated for it", used)
	}
}

// sendLength sends a whole review that says how long it is.
func sendLength(h http.Handler, body []byte, length int64) <-chan *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/enforce", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = length
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	answers := make(chan *httptest.ResponseRecorder, 1)
	answers <- w
	return answers
}

// The images of the large objects of one namespace share its places while they are looked up; those
// that get none are denied at once. Objects with few images, and those of other namespaces, are
// pinned meanwhile.
func TestImagesAreBounded(t *testing.T) {
	containers := func(image string, n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`{"name":"c%d","image":%q}`, i, image)
		}
		return fmt.Sprintf(`{"spec":{"containers":[%s]}}`, strings.Join(list, ","))
	}
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		resolver := func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
			if strings.HasPrefix(req.Ref.Text(), "hangs") {
				<-release
				return resolve.Result{}, resolve.ErrUnavailable
			}
			return registry(ctx, req)
		}
		h := newHandler(t, policy.Enforce, resolve.Func(resolver))
		h.Images = &fair.Room{Capacity: 1200}
		open := make(chan struct{})
		close(open)
		ask := func(namespace, operation, object, old string) <-chan *httptest.ResponseRecorder {
			return send(h, fmt.Appendf(nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1",
				"request":{"uid":"u","kind":{"kind":"Pod"},"namespace":%q,"operation":%q,
				"object":%s,"oldObject":%s}}`, namespace, operation, object, old), open)
		}
		first := ask("loud", "CREATE", containers("hangs", 249), "null")
		if s := h.Images.Stats(); s.InUse < 250 || s.InUse > 255 { // with the pod spec and the texts
			t.Fatalf("of a large object %+v, want its images", s)
		}
		for name, answers := range map[string]<-chan *httptest.ResponseRecorder{
			"few images":        ask("loud", "CREATE", containers("nginx", 63), "null"),
			"another namespace": ask("modest", "CREATE", containers("nginx", 150), "null"),
		} {
			if r := responseOf(t, answers); !r.Allowed || r.Patch == nil {
				t.Errorf("%s: %+v, want it pinned meanwhile", name, r.Result)
			}
		}
		for name, answers := range map[string]<-chan *httptest.ResponseRecorder{
			"many images":                  ask("loud", "CREATE", containers("nginx", 150), "null"),
			"images of an old object, too": ask("loud", "UPDATE", containers("nginx", 63), containers("busybox", 90)),
			"long annotations": ask("loud", "CREATE", `{"metadata":{"annotations":{"tagpin.dev/refresh":"`+
				strings.Repeat("x", 150<<10)+`"}},"spec":{"containers":[{"name":"a","image":"hangs"}]}}`, "null"),
		} {
			r := responseOf(t, answers)
			if r.Allowed || r.Result.Code != http.StatusTooManyRequests || !strings.Contains(r.Result.Message, "namespace loud") {
				t.Errorf("%s: %+v, want it denied as one too many, at once", name, r.Result)
			}
		}
		close(release)
		responseOf(t, first)
		if s := h.Images.Stats(); s.InUse != 0 {
			t.Errorf("in the end %+v", s)
		}
	})
}
