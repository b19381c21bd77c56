// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// TestNotReview checks that a request without a valid review gets an HTTP error.
func TestNotReview(t *testing.T) {
	for name, body := range map[string]string{
		"not JSON":     `hello`,
		"empty":        ``,
		"cut off":      `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u"`,
		"other kind":   `{"kind":"Pod","apiVersion":"v1"}`,
		"old version":  `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"u"}}`,
		"no request":   `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`,
		"null request": `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":null}`,
		"no uid":       `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"operation":"CREATE"}}`,
		"an array":     `[]`,
	} {
		_, code := post(t, newHandler(t, policy.Enforce, registry), []byte(body))
		if code != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", name, code)
		}
	}
	huge := append([]byte(`{"kind":"AdmissionReview","x":"`), bytes.Repeat([]byte(" "), 16<<20)...)
	_, code := post(t, newHandler(t, policy.Enforce, registry), huge)
	if code != http.StatusBadRequest {
		t.Errorf("more than 16 MiB without a UID: status %d, want 400", code)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/enforce", nil)
	w := httptest.NewRecorder()
	newHandler(t, policy.Enforce, registry).ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "want POST") {
		t.Errorf("GET: %d %s", w.Code, w.Body)
	}
}

// TestLongWords checks that a request has to have a uid, a namespace and a kind as an API server
// has them, and that an error does not repeat a long one.
func TestLongWords(t *testing.T) {
	for _, size := range []int{254, 1 << 20} {
		long := strings.Repeat("x", size)
		for field, body := range map[string][]byte{
			"uid":       bytes.Replace(review("CREATE", "", "Pod", nginxPod, ""), []byte(`"u"`), []byte(`"`+long+`"`), 1),
			"namespace": large(long, 10),
			"kind":      review("CREATE", "g", long, `{}`, ""),
			"group":     review("CREATE", long, "Pod", `{}`, ""),
		} {
			if field == "namespace" && size > 32<<10 {
				continue // as a long name, which may precede it
			}
			r := newRequest(t.Context(), bytes.NewReader(body))
			w := httptest.NewRecorder()
			newHandler(t, policy.Enforce, registry).ServeHTTP(w, r)
			if w.Code != http.StatusBadRequest || w.Body.Len() > 1000 {
				t.Errorf("%s of %d bytes: status %d with %d bytes, want 400 with at most 1000",
					field, size, w.Code, w.Body.Len())
			}
		}
	}
}

// TestUnreadableReview checks that a review with a uid gets an answer, even if the rest can't be
// read. A tenant can bring that about: the API server accepts objects as deep as the reviews that
// are read here.
func TestUnreadableReview(t *testing.T) {
	for name, object := range map[string]string{
		"deep":    `{"a":` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999) + `}`,
		"cut off": `{"a":1`,
	} {
		for mode, allowed := range allowedIn {
			body := review("CREATE", "argoproj.io", "Rollout", object, "")
			r, code := post(t, newHandler(t, mode, registry), body)
			if code != http.StatusOK || r.Allowed != allowed || r.UID != "u" {
				t.Errorf("%s, %s: status %d, answer %+v, want allowed %t", name, mode, code, r, allowed)
			}
		}
	}
	for _, size := range []int{4096, 4097} {
		body := bytes.Replace(review("CREATE", "", "Pod", nginxPod, ""), []byte("jane"), bytes.Repeat([]byte("j"), size), 1)
		r, code := post(t, newHandler(t, policy.Enforce, registry), body)
		if code != http.StatusOK || r.Allowed != (size == 4096) {
			t.Errorf("a user's name of %d bytes: status %d, answer %+v", size, code, r)
		}
	}
}

// timed returns a Resolver that notes how much time is left for a lookup.
func timed(left *time.Duration) resolve.Resolver {
	return resolve.Func(func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
		end, _ := ctx.Deadline()
		*left = time.Until(end)
		return registry(ctx, req)
	})
}

// TestTimeout checks how long a review may take for each value of the query parameter timeout.
func TestTimeout(t *testing.T) {
	for timeout, want := range map[string]time.Duration{
		"": 8 * time.Second, "junk": 8 * time.Second, "-1s": 8 * time.Second, "1s": 250 * time.Millisecond,
		"2s": 500 * time.Millisecond, "3s": time.Second, "15s": 13 * time.Second,
		"30s": 28 * time.Second, "2540400h": 28 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			var got time.Duration
			h := newHandler(t, policy.Enforce, timed(&got))
			body := review("CREATE", "", "Pod", nginxPod, "")
			r := newRequest(t.Context(), bytes.NewReader(body))
			r.URL.RawQuery = "timeout=" + timeout
			h.ServeHTTP(httptest.NewRecorder(), r)
			if got != want {
				t.Errorf("timeout %q: the review may take %v, want %v", timeout, got, want)
			}
		})
	}
}

// slowBody needs a second for each byte.
type slowBody struct{ io.Reader }

func (b slowBody) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return b.Reader.Read(p[:min(1, len(p))])
}

// TestBudgetBeginsWithTheRequest checks that the time for a review begins with the first byte of
// its request.
func TestBudgetBeginsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got time.Duration
		h := newHandler(t, policy.Enforce, timed(&got))
		h.Began = func(*http.Request) time.Time { return time.Now().Add(-2 * time.Second) }
		body := review("CREATE", "", "Pod", nginxPod, "")
		last := slowBody{bytes.NewReader(body[len(body)-1:])}
		slow := io.MultiReader(bytes.NewReader(body[:len(body)-1]), last)
		h.ServeHTTP(httptest.NewRecorder(), newRequest(t.Context(), slow))
		if want := 8*time.Second - 2*time.Second - 2*time.Second; got != want {
			t.Errorf("after 2s of header and 2s of body, the review may take %v, want %v", got, want)
		}
	})
}

// TestShutdown checks that a review goes on when the server's context ends.
func TestShutdown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	resolver := func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
		cancel()
		if err := ctx.Err(); err != nil {
			return resolve.Result{}, fmt.Errorf("%w: %w", failure.Unavailable, err)
		}
		return registry(ctx, req)
	}
	h := newHandler(t, policy.Enforce, resolve.Func(resolver))
	w, body := httptest.NewRecorder(), review("CREATE", "", "Pod", nginxPod, "")
	h.ServeHTTP(w, newRequest(ctx, bytes.NewReader(body)))
	if !strings.Contains(w.Body.String(), `"allowed":true`) || !strings.Contains(w.Body.String(), `"patch"`) {
		t.Errorf("answer %s, want it pinned", w.Body)
	}
}

// TestPanic checks that a panic denies the review, so that no unpinned object is admitted where the
// API server ignores failures, and that the log names the review.
func TestPanic(t *testing.T) {
	object := `{"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"o","uid":"1","controller":true}]},
		"spec":{"containers":[{"name":"a","image":"nginx"}]}}`
	for mode, allowed := range map[policy.Mode]bool{policy.Enforce: false, policy.Propose: true} {
		h := newHandler(t, mode, registry)
		var reported string
		h.Pinner.Layer = func(
			context.Context, resolve.Resolver, pin.Request, []ref.Reference,
		) resolve.Resolver {
			panic("a bug")
		}
		h.Pinner.Panics = &panics.Reporter{Report: func(e *panics.Error) { reported = e.Error() }}
		r, code := post(t, h, review("CREATE", "", "Pod", object, ""))
		if code != http.StatusOK || r.Allowed != allowed || string(r.UID) != "u" {
			t.Fatalf("%s: status %d, answer %+v, want allowed %t", mode, code, r, allowed)
		}
		if !allowed && r.Result.Code != http.StatusInternalServerError {
			t.Errorf("%s: code %d, want 500", mode, r.Result.Code)
		}
		if !strings.Contains(reported, "review u of namespace team") {
			t.Errorf("%s: reported %q, want the name of the review", mode, reported)
		}
	}
}

// TestNotReviewed checks that an object that can't be reviewed is denied or, in the mode dry-run,
// admitted with a warning.
func TestNotReviewed(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(`{"name":"c","image":"nginx"},`, workload.MaxReferences+1), ",")
	for name, object := range map[string]string{
		"too many images":        `{"spec":{"containers":[` + many + `]}}`,
		"object of another type": `"x"`,
	} {
		t.Run(name, func(t *testing.T) {
			for mode, allowed := range allowedIn {
				r, code := post(t, newHandler(t, mode, registry), review("CREATE", "", "Pod", object, ""))
				if code != http.StatusOK || r.Allowed != allowed {
					t.Errorf("%s: status %d, answer %+v, want allowed %t", mode, code, r, allowed)
				}
				if allowed && len(r.Warnings) != 1 {
					t.Errorf("%s: warnings %q, want one that says why", mode, r.Warnings)
				}
			}
		})
	}
}

// FuzzReview checks that no request causes a panic, and that a patch can be applied.
func FuzzReview(f *testing.F) {
	f.Add(review("CREATE", "", "Pod", nginxPod, ""))
	f.Add(review("UPDATE", "apps", "Deployment", fmt.Sprintf(threeImages, "a"), fmt.Sprintf(threeImages, "b@"+digestOf("x").String())))
	f.Add([]byte(`{"request":{"uid":"u","kind":{"kind":"Pod"},"object":{}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, mode := range []policy.Mode{policy.Enforce, policy.Propose, policy.Keep} {
			r, code := post(t, newHandler(t, mode, registry), body)
			if code != http.StatusOK {
				continue
			}
			if r == nil || r.UID == "" {
				t.Fatal("the answer has no uid")
			}
			if r.Patch != nil {
				checkPatch(t, body, r.Patch)
			}
		}
	})
}
