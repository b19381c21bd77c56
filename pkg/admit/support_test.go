// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// digestOf returns the digest that registry has for a canonical reference.
func digestOf(canonical string) digest.Digest {
	sum := sha256.Sum256([]byte(canonical))
	return digest.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// registry is a Resolver that has every image, unless the end of its name says otherwise.
var registry = resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
	switch {
	case strings.HasSuffix(req.Ref.Path(), "missing"):
		return resolve.Result{}, failure.Errorf(failure.NotFound, "%s: manifest not found (404)", req.Ref.Host())
	case strings.HasSuffix(req.Ref.Path(), "down"):
		return resolve.Result{}, failure.Errorf(failure.Unavailable, "%s: unreachable", req.Ref.Host())
	case strings.HasSuffix(req.Ref.Path(), "private"):
		return resolve.Result{}, failure.Errorf(failure.Unauthorized, "%s: denied (401)", req.Ref.Host())
	}
	return resolve.Result{Digest: digestOf(req.Ref.Canonical())}, nil
})

// counting returns a Resolver that counts its lookups.
func counting(n *atomic.Int64) resolve.Resolver {
	return resolve.Func(func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
		n.Add(1)
		return registry(ctx, req)
	})
}

// custom are the kinds that newHandler has in addition to the built-in ones, and the paths of their
// templates.
var custom = map[workload.Kind]string{
	{Group: "argoproj.io", Kind: "Rollout"}:    "spec.template",
	{Group: "jobset.x-k8s.io", Kind: "JobSet"}: "spec.replicatedJobs[*].template.spec.template",
}

// newHandler returns a handler with the default of onFailure.
func newHandler(t testing.TB, mode policy.Mode, r resolve.Resolver) *admit.Handler {
	t.Helper()
	table := new(workload.Table)
	for kind, path := range custom {
		if err := table.Add(kind, []string{path}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return &admit.Handler{
		Pinner: &pin.Pinner{Resolver: r}, Table: table, Mode: mode,
		OnFailure: failure.Actions{
			failure.Unauthorized: failure.Defer, failure.Unavailable: failure.Defer,
		},
		Keychain:    func(string, workload.Identity) keychain.Keychain { return nil },
		Metrics:     admit.NewMetrics(prometheus.NewRegistry()),
		Reviews:     new(fair.Groups),
		Images:      new(fair.Room),
		SlowReviews: new(fair.Room),
		Began:       func(*http.Request) time.Time { return time.Now() },
		WhenLost:    func(*http.Request, func()) {},
	}
}

// review returns an AdmissionReview. old may be empty.
func review(operation, group, kind, object, old string) []byte {
	if old == "" {
		old = "null"
	}
	return fmt.Appendf(nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":%q,"version":"v1","kind":%q},
		"operation":%q,"namespace":"team","userInfo":{"username":"jane"},"object":%s,"oldObject":%s}}`, group, kind, operation, object, old)
}

// post sends a review. If the status is not 200, the response is nil.
func post(t *testing.T, h http.Handler, body []byte) (*admissionv1.AdmissionResponse, int) {
	t.Helper()
	w, r := httptest.NewRecorder(), newRequest(t.Context(), bytes.NewReader(body))
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return nil, w.Code
	}
	var rv admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &rv); err != nil {
		t.Fatalf("the answer is not an AdmissionReview: %v\n%s", err, w.Body)
	}
	return rv.Response, w.Code
}

// checkPatch applies a patch to the object of a review.
func checkPatch(t *testing.T, body, patch []byte) {
	t.Helper()
	var rv struct {
		Request struct{ Object json.RawMessage }
	}
	if json.Unmarshal(body, &rv) != nil || bytes.Count(bytes.ToLower(body), []byte(`"object"`)) != 1 {
		return // decoders differ about duplicate and misspelled names
	}
	p, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatalf("patch %s: %v", patch, err)
	}
	if _, err := p.Apply(rv.Request.Object); err != nil {
		t.Fatalf("patch %s does not apply to %s: %v", patch, rv.Request.Object, err)
	}
}

// respond returns the answer to a review.
func respond(t *testing.T, mode policy.Mode, body []byte) *admissionv1.AdmissionResponse {
	t.Helper()
	r, code := post(t, newHandler(t, mode, registry), body)
	if r == nil {
		t.Fatalf("status %d, want an answer", code)
	}
	return r
}

const (
	mebi = 1 << 20
	// nginxPod is a Pod with a container of the image nginx.
	nginxPod = `{"spec":{"containers":[{"name":"a","image":"nginx"}]}}`
)

// allowedIn has the modes, and whether they admit an object that can't be reviewed.
var allowedIn = map[policy.Mode]bool{
	policy.Enforce: false, policy.Keep: false, policy.Propose: true,
}

// newRequest returns a request with a review.
func newRequest(ctx context.Context, body io.Reader) *http.Request {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/enforce?timeout=10s", body)
	r.Header.Set("Content-Type", "application/json")
	return r
}
