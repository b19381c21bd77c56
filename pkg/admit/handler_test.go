// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// review makes a review by hand. old may be empty.
func review(operation, group, kind, object, old string) []byte {
	if old == "" {
		old = "null"
	}
	return fmt.Appendf(nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":%q,"version":"v1","kind":%q},
		"operation":%q,"namespace":"team","userInfo":{"username":"jane"},"object":%s,"oldObject":%s}}`, group, kind, operation, object, old)
}

func TestNoReview(t *testing.T) {
	for name, body := range map[string]string{
		"no JSON":      `hello`,
		"nothing":      ``,
		"cut off":      `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","object":{"spec"`,
		"other kind":   `{"kind":"Pod","apiVersion":"v1"}`,
		"old version":  `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"u"}}`,
		"no request":   `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`,
		"null request": `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":null}`,
		"no uid":       `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"operation":"CREATE"}}`,
		"an array":     `[]`,
	} {
		if _, code := post(t, newHandler(t, policy.Enforce, registry), []byte(body)); code != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", name, code)
		}
	}
	huge := append([]byte(`{"kind":"AdmissionReview","x":"`), bytes.Repeat([]byte(" "), 16<<20)...)
	if _, code := post(t, newHandler(t, policy.Enforce, registry), huge); code != http.StatusBadRequest {
		t.Errorf("more than 16 MiB without a UID: status %d, want 400", code)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/enforce", nil)
	w := httptest.NewRecorder()
	newHandler(t, policy.Enforce, registry).ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "want POST") {
		t.Errorf("GET: %d %s", w.Code, w.Body)
	}
}

func TestOddObjects(t *testing.T) {
	many := make([]string, 512)
	for i := range many {
		many[i] = fmt.Sprintf(`{"name":"c%d","image":"ghcr.io/a/b%d:1"}`, i, i)
	}
	big := fmt.Sprintf(`{"metadata":{},"spec":{"x":%q,"containers":[{"name":"a","image":"nginx"}]}}`, strings.Repeat("y", 7<<20))
	for _, tt := range []struct {
		name                           string
		operation, group, kind, object string
		allowed                        bool
		patches                        int
	}{
		{"nil template", "CREATE", "apps", "Deployment", `{"spec":{"template":null}}`, true, 0},
		{"empty", "CREATE", "apps", "Deployment", `{}`, true, 0},
		{"unknown kind", "CREATE", "x.example", "Thing", `{}`, true, 0},
		{"no object", "CREATE", "", "Pod", `null`, false, 0},
		{"object of another type", "CREATE", "", "Pod", `"x"`, false, 0},
		{"512 containers", "CREATE", "", "Pod", `{"metadata":{},"spec":{"containers":[` + strings.Join(many, ",") + `]}}`, true, 513},
		{"7 MiB", "CREATE", "", "Pod", big, true, 2},
		{"delete", "DELETE", "", "Pod", `null`, true, 0},
		{"no metadata at all", "CREATE", "", "Pod", `{"spec":{"containers":[{"name":"a","image":"nginx"}]}}`, true, 2},
		{"blank and missing images", "CREATE", "", "Pod", `{"spec":{"containers":[{"name":"a","image":""},{"name":"b"},{"image":" "}]}}`, true, 0},
		{"forged as deleted", "CREATE", "", "Pod", `{"metadata":{"deletionTimestamp":"2020-01-01T00:00:00Z"},"spec":{"containers":[{"name":"a","image":"nginx"}]}}`, true, 2},
		{"a Deployment's ReplicaSet", "CREATE", "apps", "ReplicaSet", owned("apps/v1", "Deployment", true), true, 0},
		{"a CronJob's Job", "CREATE", "batch", "Job", owned("batch/v1", "CronJob", true), true, 2},
		{"a forged CronJob's Job", "CREATE", "batch", "Job", owned("evil/v1", "CronJob", true), true, 0},
		{"an owner that controls nothing", "CREATE", "apps", "ReplicaSet", owned("apps/v1", "Deployment", false), true, 2},
		{"a ReplicaSet's Pod", "CREATE", "", "Pod", `{"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","controller":true}]},"spec":{"containers":[{"name":"a","image":"nginx"}]}}`, true, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, code := post(t, newHandler(t, policy.Enforce, registry), review(tt.operation, tt.group, tt.kind, tt.object, ""))
			if code != http.StatusOK || r.Allowed != tt.allowed || string(r.UID) != "u" {
				t.Fatalf("status %d, answer %+v, want allowed %t", code, r, tt.allowed)
			}
			var ops []json.RawMessage
			if r.Patch != nil {
				if err := json.Unmarshal(r.Patch, &ops); err != nil {
					t.Fatal(err)
				}
			}
			if len(ops) != tt.patches || (r.PatchType == nil) != (tt.patches == 0) {
				t.Errorf("%d operations, type %v, want %d: %.300s", len(ops), r.PatchType, tt.patches, r.Patch)
			}
			if !r.Allowed && (r.Result == nil || r.Result.Message == "") {
				t.Error("denied without a reason")
			}
		})
	}
}

func owned(apiVersion, kind string, controller bool) string {
	return fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":%q,"kind":%q,"name":"o","uid":"1","controller":%t}]},
		"spec":{"template":{"metadata":{},"spec":{"containers":[{"name":"a","image":"nginx"}]}}}}`, apiVersion, kind, controller)
}

const template3 = `{"spec":{"template":{"metadata":{},"spec":{"containers":[{"name":"good","image":"ghcr.io/a/good:1"},{"name":"bad","image":%q},{"name":"fine","image":"ghcr.io/a/fine:1"}]}}}}`

// TestFailures has one bad image among three: the others are pinned all the same, and the answer is
// what onFailure says for the class of the failure and the kind of the object.
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		image string
		onPod bool
		want  string // of the message or the warning
		deny  bool
	}{
		{"ghcr.io/a/missing:1", false, `container "bad": can't pin ghcr.io/a/missing:1: ghcr.io: manifest not found (404); check the image's name and tag`, true},
		{"ghcr.io/a/private:1", false, `or give the pod or its service account "default" an image pull secret; admitted as it is, its pods wait until it resolves`, false},
		{"ghcr.io/a/down:1", false, `admitted as it is, its pods wait`, false},
		{"ghcr.io/a/down:1", true, `container "bad": can't pin ghcr.io/a/down:1: ghcr.io: unreachable; try again later, or write the digest into the manifest`, true},
	} {
		group, kind, object := "apps", "Deployment", fmt.Sprintf(template3, tt.image)
		if tt.onPod {
			group, kind = "", "Pod"
			object = strings.TrimSuffix(strings.TrimPrefix(object, `{"spec":{"template":`), "}}")
		}
		r, _ := post(t, newHandler(t, policy.Enforce, registry), review("CREATE", group, kind, object, ""))
		said := strings.Join(r.Warnings, "\n")
		if tt.deny {
			said = r.Result.Message
		} else if strings.Count(string(r.Patch), "replace") != 2 {
			t.Errorf("%s: patch %s, want the two others pinned", tt.image, r.Patch)
		}
		if r.Allowed == tt.deny || !strings.Contains(said, tt.want) {
			t.Errorf("%s: allowed %t, said %q, want %q", tt.image, r.Allowed, said, tt.want)
		}
	}
}

// TestAllow has one bad image among three where onFailure allows it: two are pinned, and the third
// is warned of, in the audit annotation missing, and counted.
func TestAllow(t *testing.T) {
	metrics := prometheus.NewRegistry()
	h := newHandler(t, policy.Enforce, registry)
	h.OnFailure, h.Metrics = admit.OnFailure{NotFound: admit.Allow}, admit.NewMetrics(metrics)
	r, _ := post(t, h, review("CREATE", "apps", "Deployment", fmt.Sprintf(template3, "ghcr.io/a/missing:1"), ""))
	const warning = `container "bad": can't pin ghcr.io/a/missing:1: ghcr.io: manifest not found (404); check the image's name and tag; admitted unpinned`
	if !r.Allowed || len(r.Warnings) != 1 || r.Warnings[0] != warning {
		t.Errorf("allowed %t, warnings %q, want %q", r.Allowed, r.Warnings, warning)
	}
	audit := fmt.Sprintf(`{"fine":"ghcr.io/a/fine:1@%s","good":"ghcr.io/a/good:1@%s"}`, digestOf("ghcr.io/a/fine:1"), digestOf("ghcr.io/a/good:1"))
	if got := r.AuditAnnotations["pins"]; got != audit {
		t.Errorf("audit annotation %s, want %s", got, audit)
	}
	if n := strings.Count(string(r.Patch), `"replace"`); n != 2 {
		t.Errorf("%d images are replaced, want 2: %s", n, r.Patch)
	}
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "tagpin_admission_references_total" && m.GetCounter().GetValue() > 0 {
				counted[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if want := map[string]float64{"enforce notFound": 1, "enforce pinned": 2}; !maps.Equal(counted, want) {
		t.Errorf("counted %v, want %v", counted, want)
	}
}

// TestOddNames has what JSON and JSON pointers escape in names, annotations and images: the patch,
// applied, holds it as it was.
func TestOddNames(t *testing.T) {
	for _, name := range []string{`a/b`, `a~b`, `a~1b`, `a"b`, `a\b`, "größe", "a	b", "<&>"} {
		object, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"annotations": map[string]any{name: name}},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": name, "image": "ghcr.io/a/b:1"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		r, _ := post(t, newHandler(t, policy.Enforce, registry), review("CREATE", "", "Pod", string(object), ""))
		p, err := jsonpatch.DecodePatch(r.Patch)
		if err != nil {
			t.Fatal(err)
		}
		patched, err := p.Apply(object)
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		var pod corev1.Pod
		var pins map[string]string
		if err := errors.Join(json.Unmarshal(patched, &pod), json.Unmarshal([]byte(pod.Annotations["tagpin.dev/pins"]), &pins)); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		want := "ghcr.io/a/b:1@" + digestOf("ghcr.io/a/b:1").String()
		if c := pod.Spec.Containers[0]; c.Name != name || c.Image != want || pins[name] != want || pod.Annotations[name] != name {
			t.Errorf("%q: container %q has %s, the entry is %s, its annotation %q", name, c.Name, c.Image, pins[name], pod.Annotations[name])
		}
	}
}

// TestWarningLimits has as many warnings as there are images: the API server's limits are kept,
// whose own way would be to drop all that is more.
func TestWarningLimits(t *testing.T) {
	var containers []string
	for i := range 100 {
		containers = append(containers, fmt.Sprintf(`{"name":"c%dü","image":"ghcr.io/a/%s/private:%d"}`, i, strings.Repeat("x", 2*i+1), i))
	}
	object := `{"spec":{"template":{"spec":{"containers":[` + strings.Join(containers, ",") + `]}}}}`
	r, _ := post(t, newHandler(t, policy.Enforce, registry), review("CREATE", "apps", "Deployment", object, ""))
	total := 0
	for _, w := range r.Warnings {
		total += len(w)
		if len(w) > 256 || !utf8.ValidString(w) {
			t.Errorf("a warning of %d bytes: %q", len(w), w)
		}
	}
	if total > 4096 || len(r.Warnings) < 10 {
		t.Errorf("%d warnings of %d bytes, want some, of 4096 at most", len(r.Warnings), total)
	}
}

// An image that is too long to be looked up is a failure of class invalid, since a node that
// rewrites hosts may pull it. In dry-run it is a warning, and the others are pinned where the class
// is allowed.
func TestLongImage(t *testing.T) {
	name := strings.Repeat("n", 1<<20)
	for _, image := range []string{strings.Repeat("\x7f", 3<<20), strings.Repeat("a.", 150) + "example/a:1"} {
		object := `{"spec":{"containers":[{"name":"a","image":"nginx"},
			{"name":"` + name + `","image":"` + image + `"}]}}`
		r, _ := post(t, newHandler(t, policy.Enforce, registry), review("CREATE", "", "Pod", object, ""))
		if r.Allowed || !strings.Contains(r.Result.Message, "nnn") || !strings.Contains(r.Result.Message, "too long") {
			t.Errorf("answer %+v, want it denied with the reason", r.Result)
		}
		r, _ = post(t, newHandler(t, policy.Propose, registry), review("CREATE", "", "Pod", object, ""))
		if !r.Allowed || !strings.Contains(strings.Join(r.Warnings, ""), "nnn") {
			t.Errorf("dry-run: allowed %t, warnings %q, want one about the second image", r.Allowed, r.Warnings)
		}
		h := newHandler(t, policy.Enforce, registry)
		h.OnFailure.Invalid = admit.Allow
		r, _ = post(t, h, review("CREATE", "", "Pod", object, ""))
		patch := string(r.Patch)
		if !r.Allowed || !strings.Contains(patch, "/containers/0/image") || strings.Count(patch, "/image") != 1 {
			t.Errorf("where it is allowed: %v, patch %.300s, want the first image pinned alone", r.Result, patch)
		}
	}
}

// TestManyPins has more pins than annotations have room for: all are made, and the annotation is
// left out with a warning, as the API server would refuse the object.
func TestManyPins(t *testing.T) {
	var containers []string
	for i := range 1200 {
		containers = append(containers, fmt.Sprintf(`{"name":"c%d","image":"ghcr.io/a/%s:%d"}`, i, strings.Repeat("x", 100), i))
	}
	object := `{"spec":{"template":{"spec":{"containers":[` + strings.Join(containers, ",") + `]}}}}`
	for mode, replaced := range map[policy.Mode]int{policy.Enforce: 1200, policy.Propose: 0} {
		r, _ := post(t, newHandler(t, mode, registry), review("CREATE", "apps", "Deployment", object, ""))
		if n := strings.Count(string(r.Patch), `"replace"`); !r.Allowed || n != replaced || strings.Contains(string(r.Patch), "annotations") {
			t.Errorf("%s: %d images are replaced, want %d, and no annotation", mode, n, replaced)
		}
		if said := strings.Join(r.Warnings, "\n"); mode == policy.Enforce && !strings.Contains(said, "tagpin.dev/pins would be too long") {
			t.Errorf("warnings %q", r.Warnings)
		}
	}
}

// TestProposalIsKept sends an object again without its proposal, whose texts are the same: it is
// put back.
func TestProposalIsKept(t *testing.T) {
	const texts = `"spec":{"template":{"spec":{"containers":[{"name":"a","image":"nginx:1"}]}}}`
	old := `{"metadata":{"annotations":{"tagpin.dev/proposed-pins":"{\"a\":\"nginx:1@sha256:x\"}"}},` + texts + `}`
	r, _ := post(t, newHandler(t, policy.Propose, registry), review("UPDATE", "apps", "Deployment", `{"metadata":{},`+texts+`}`, old))
	if want := `"value":{"tagpin.dev/proposed-pins":"{\"a\":\"nginx:1@sha256:x\"}"}`; !strings.Contains(string(r.Patch), want) {
		t.Errorf("patch %s, want %s in it", r.Patch, want)
	}
}

func TestDryRunNeverDenies(t *testing.T) {
	r, _ := post(t, newHandler(t, policy.Propose, registry), review("CREATE", "apps", "Deployment", fmt.Sprintf(template3, "ghcr.io/a/missing:1"), ""))
	if !r.Allowed || !strings.Contains(string(r.Patch), "error: ghcr.io: manifest not found") || strings.Contains(string(r.Patch), "replace") {
		t.Errorf("answer %+v, patch %s", r, r.Patch)
	}
	if !strings.Contains(string(r.Patch), `"path":"/metadata"`) {
		t.Errorf("patch %s, want the object's own metadata alone", r.Patch)
	}
}

// counting counts look-ups.
func counting(n *atomic.Int64) resolve.Resolver {
	return resolve.Func(func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
		n.Add(1)
		return registry(ctx, req)
	})
}

// TestLookups counts what an object costs: the same image twice is one look-up, however it is
// spelled, and what is pinned or sticky none.
func TestLookups(t *testing.T) {
	var n atomic.Int64
	h := newHandler(t, policy.Enforce, counting(&n))
	post(t, h, review("CREATE", "", "Pod", `{"spec":{"containers":[{"name":"a","image":"nginx"},{"name":"b","image":"docker.io/library/nginx:latest"},{"name":"c","image":"busybox"}]}}`, ""))
	if n.Load() != 2 {
		t.Errorf("%d look-ups, want 2", n.Load())
	}
	pinned := `{"spec":{"containers":[{"name":"a","image":"nginx@` + digestOf("x").String() + `"}]}}`
	post(t, h, review("CREATE", "", "Pod", pinned, ""))
	post(t, h, review("UPDATE", "", "Pod", `{"spec":{"containers":[{"name":"a","image":"nginx"}]}}`, pinned))
	if n.Load() != 2 {
		t.Errorf("%d look-ups, want none for pinned and sticky references", n.Load()-2)
	}
}

// TestKept has a new container with the text of one that is pinned: it takes that digest.
func TestKept(t *testing.T) {
	var n atomic.Int64
	pinned := `{"name":"a","image":"nginx:1@` + digestOf("before").String() + `"}`
	r, _ := post(t, newHandler(t, policy.Enforce, counting(&n)), review("UPDATE", "apps", "Deployment",
		`{"spec":{"template":{"spec":{"containers":[`+pinned+`,{"name":"b","image":"nginx:1"}]}}}}`,
		`{"spec":{"template":{"spec":{"containers":[`+pinned+`]}}}}`))
	if n.Load() != 0 || !strings.Contains(string(r.Patch), `"value":"nginx:1@`+digestOf("before").String()) {
		t.Errorf("%d look-ups, patch %s", n.Load(), r.Patch)
	}
}

// TestDigestOnly drops the tag, and finds a pin's text by the annotation alone.
func TestDigestOnly(t *testing.T) {
	h := newHandler(t, policy.Enforce, registry)
	h.Pinner.Policy.Output = policy.DigestOnly
	plain := `{"spec":{"template":{"metadata":{},"spec":{"containers":[{"name":"a","image":"nginx:1"}]}}}}`
	r, _ := post(t, h, review("CREATE", "apps", "Deployment", plain, ""))
	d := digestOf("docker.io/library/nginx:1").String()
	if !strings.Contains(string(r.Patch), `"value":"nginx@`+d) || !strings.Contains(string(r.Patch), `nginx:1@`+d) {
		t.Fatalf("patch %s", r.Patch)
	}
	old := `{"spec":{"template":{"metadata":{"annotations":{"tagpin.dev/pins":"{\"a\":\"nginx:1@%[1]s\"}"}},"spec":{"containers":[{"name":"a","image":"nginx@%[1]s"}]}}}}`
	moved := digestOf("before").String()
	r, _ = post(t, h, review("UPDATE", "apps", "Deployment", plain, fmt.Sprintf(old, moved)))
	if !strings.Contains(string(r.Patch), `"value":"nginx@`+moved) {
		t.Errorf("re-applied: patch %s, want the old pin", r.Patch)
	}
	bare := `{"spec":{"template":{"metadata":{},"spec":{"containers":[{"name":"a","image":"nginx"}]}}}}`
	r, _ = post(t, h, review("UPDATE", "apps", "Deployment", bare, fmt.Sprintf(strings.Replace(old, "tagpin.dev/pins", "x", 1), moved)))
	if strings.Contains(string(r.Patch), moved) {
		t.Errorf("patch %s: guessed that nginx@D was made for nginx", r.Patch)
	}
}

// TestStickyWarns tells who changes a template otherwise that its tag was not followed.
func TestStickyWarns(t *testing.T) {
	h := newHandler(t, policy.Enforce, registry)
	object := func(image, env string) string {
		return fmt.Sprintf(`{"spec":{"template":{"metadata":{},"spec":{"containers":[{"name":"a","image":%q,"env":[{"name":"X","value":%q}]}]}}}}`, image, env)
	}
	old := object("nginx:main@"+digestOf("before").String(), "1")
	for _, tt := range []struct {
		env   string
		warns int
	}{{"1", 0}, {"2", 1}} {
		r, _ := post(t, h, review("UPDATE", "apps", "Deployment", object("nginx:main", tt.env), old))
		if len(r.Warnings) != tt.warns {
			t.Errorf("env %s: warnings %q, want %d", tt.env, r.Warnings, tt.warns)
		}
	}
}

// TestInvalidWarns says what the kubelet will have against the text.
func TestInvalidWarns(t *testing.T) {
	r, _ := post(t, newHandler(t, policy.Enforce, registry), review("CREATE", "", "Pod", `{"spec":{"containers":[{"name":"a","image":"nginx:1:2"}]}}`, ""))
	if want := `container "a": the kubelet will refuse this image: invalid image reference "nginx:1:2"`; len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0], want) {
		t.Errorf("warnings %q, want %s", r.Warnings, want)
	}
}

// TestManySticky re-applies the largest Deployment with another label: the templates are compared
// once, not once for each container.
func TestManySticky(t *testing.T) {
	object := func(label, digest string) string {
		var containers []string
		for i := range 512 {
			containers = append(containers, fmt.Sprintf(`{"name":"c%d","image":"nginx:1%s","env":[%s{}]}`, i, digest, strings.Repeat(`{"name":"X","value":"some value"},`, 40)))
		}
		return fmt.Sprintf(`{"spec":{"template":{"metadata":{"labels":{"x":%q}},"spec":{"containers":[%s]}}}}`, label, strings.Join(containers, ","))
	}
	h, body := newHandler(t, policy.Keep, registry), review("UPDATE", "apps", "Deployment", object("2", ""), object("1", "@"+digestOf("before").String()))
	r, _ := post(t, h, body)
	if got := testing.AllocsPerRun(1, func() { post(t, h, body) }); got > 512*100 {
		t.Errorf("%v allocations, want them to grow with the containers, not with their square", got)
	}
	if n := strings.Count(string(r.Patch), `"replace"`); n != 512 || len(r.Warnings) == 0 {
		t.Errorf("%d pins restored, %d warnings, want 512 and some", n, len(r.Warnings))
	}
}

// A dry-run keeps a pin as enforce does, with its entry: without it the template would differ, and
// roll out.
func TestDryRunRestoresEntries(t *testing.T) {
	d := digestOf("before").String()
	old := `{"spec":{"template":{"metadata":{"annotations":{"tagpin.dev/pins":"{\"a\":\"nginx:1@` + d + `\"}"}},"spec":{"containers":[{"name":"a","image":"nginx:1@` + d + `"}]}}}}`
	replaced := `{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"nginx:1"},{"name":"b","image":"busybox"}]}}}}`
	r, _ := post(t, newHandler(t, policy.Propose, registry), review("UPDATE", "apps", "Deployment", replaced, old))
	for _, want := range []string{`"path":"/spec/template/metadata","value":{"annotations":{"tagpin.dev/pins":"{\"a\":\"nginx:1@` + d + `\"}"}}`, `proposed-pins":"{\"b\":`} {
		if !strings.Contains(string(r.Patch), want) {
			t.Errorf("patch %s lacks %s", r.Patch, want)
		}
	}
}

// TestTimeout has what callers say of their patience: the API server's is 30 seconds at most.
func TestTimeout(t *testing.T) {
	for timeout, want := range map[string]time.Duration{
		"": 8 * time.Second, "junk": 8 * time.Second, "-1s": 8 * time.Second, "1s": 250 * time.Millisecond,
		"2s": 500 * time.Millisecond, "3s": time.Second, "15s": 13 * time.Second,
		"30s": 28 * time.Second, "2540400h": 28 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			var got time.Duration
			h := newHandler(t, policy.Enforce, resolve.Func(func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
				end, _ := ctx.Deadline()
				got = time.Until(end)
				return registry(ctx, req)
			}))
			body := review("CREATE", "", "Pod", `{"spec":{"containers":[{"name":"a","image":"nginx"}]}}`, "")
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/enforce?timeout="+timeout, bytes.NewReader(body))
			req.Header.Set("Content-Type", "application/json")
			h.ServeHTTP(httptest.NewRecorder(), req)
			if got != want {
				t.Errorf("timeout %q: a review has %v, want %v", timeout, got, want)
			}
		})
	}
}

// slowBody takes a second for each byte.
type slowBody struct{ io.Reader }

func (b slowBody) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return b.Reader.Read(p[:min(1, len(p))])
}

// The budget begins with the first byte of the request, so that a slow header and a slow body are
// part of it.
func TestBudgetBeginsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got time.Duration
		h := newHandler(t, policy.Enforce, resolve.Func(func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
			end, _ := ctx.Deadline()
			got = time.Until(end)
			return registry(ctx, req)
		}))
		h.Began = func(*http.Request) time.Time { return time.Now().Add(-2 * time.Second) }
		body := review("CREATE", "", "Pod", `{"spec":{"containers":[{"name":"a","image":"nginx"}]}}`, "")
		last := slowBody{bytes.NewReader(body[len(body)-1:])}
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/enforce?timeout=10s", io.MultiReader(bytes.NewReader(body[:len(body)-1]), last))
		req.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(httptest.NewRecorder(), req)
		if want := 8*time.Second - 2*time.Second - 2*time.Second; got != want {
			t.Errorf("after 2s of header and 2s of body a review has %v, want %v", got, want)
		}
	})
}

// A server that begins to shut down ends the contexts of requests; reviews under way have their
// budget all the same.
func TestShutdownCancelsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := newHandler(t, policy.Enforce, resolve.Func(func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
		cancel()
		if err := ctx.Err(); err != nil {
			return resolve.Result{}, fmt.Errorf("%w: %w", resolve.ErrUnavailable, err)
		}
		return registry(ctx, req)
	}))
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/enforce?timeout=10s", bytes.NewReader(review("CREATE", "", "Pod", `{"spec":{"containers":[{"name":"a","image":"nginx"}]}}`, "")))
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if !strings.Contains(w.Body.String(), `"allowed":true`) || !strings.Contains(w.Body.String(), `"patch"`) {
		t.Errorf("answer %s, want a pin", w.Body)
	}
}

// Who posts a review of megabytes of names gets none of them back.
func TestLongNames(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/enforce", bytes.NewReader(review("CREATE", "g", long, `{}`, "")))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	newHandler(t, policy.Enforce, registry).ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest || w.Body.Len() > 1000 {
		t.Errorf("status %d with %d bytes, want 400 in few", w.Code, w.Body.Len())
	}
}

// TestAnnotationIsNotBelieved has entries that are forged, stale or no JSON: they are dropped, and
// decide nothing.
func TestAnnotationIsNotBelieved(t *testing.T) {
	for _, annotation := range []string{
		`{"a":"nginx:1@` + digestOf("evil").String() + `"}`, `not JSON`, `[]`, `{"a":1}`, `{"a":"evil.example/x:1@` + digestOf("held").String() + `"}`,
	} {
		object := fmt.Sprintf(`{"metadata":{"annotations":{"tagpin.dev/pins":%q}},"spec":{"containers":[{"name":"a","image":"nginx:1@%s"},{"name":"b","image":"busybox"}]}}`,
			annotation, digestOf("held"))
		r, _ := post(t, newHandler(t, policy.Enforce, registry), review("CREATE", "", "Pod", object, ""))
		want := `{"op":"add","path":"/metadata/annotations/tagpin.dev~1pins","value":"{\"b\":\"busybox@` + digestOf("docker.io/library/busybox:latest").String() + `\"}"}`
		if !strings.Contains(string(r.Patch), want) {
			t.Errorf("annotation %s: patch %s, want %s in it", annotation, r.Patch, want)
		}
	}
}

// FuzzReview answers whatever comes, and never panics; what it answers with 200 is an
// AdmissionReview whose patch applies.
func FuzzReview(f *testing.F) {
	f.Add(review("CREATE", "", "Pod", `{"spec":{"containers":[{"name":"a","image":"nginx"}]}}`, ""))
	f.Add(review("UPDATE", "apps", "Deployment", fmt.Sprintf(template3, "a"), fmt.Sprintf(template3, "b@"+digestOf("x").String())))
	f.Add([]byte(`{"request":{"uid":"u","kind":{"kind":"Pod"},"object":{}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, mode := range []policy.Mode{policy.Enforce, policy.Propose, policy.Keep} {
			r, code := post(t, newHandler(t, mode, registry), body)
			if code != http.StatusOK {
				continue
			}
			if r == nil || r.UID == "" {
				t.Fatal("an answer without a uid")
			}
			if r.Patch != nil {
				checkPatch(t, body, r.Patch)
			}
		}
	})
}

// In dry-run, what can't be reviewed is admitted, and the answer says why it has no pins.
func TestDryRunAdmitsWhatItCantReview(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(`{"name":"c","image":"nginx"},`, workload.MaxReferences+1), ",")
	for name, object := range map[string]string{
		"too many images":        `{"spec":{"containers":[` + many + `]}}`,
		"object of another type": `"x"`,
	} {
		t.Run(name, func(t *testing.T) {
			for mode, allowed := range map[policy.Mode]bool{policy.Enforce: false, policy.Keep: false, policy.Propose: true} {
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

// A bug denies its review, so that nothing passes unpinned where the API server ignores failures,
// and the log says which review it was.
func TestBugIsAnswered(t *testing.T) {
	object := `{"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"o","uid":"1","controller":true}]},
		"spec":{"containers":[{"name":"a","image":"nginx"}]}}`
	for mode, allowed := range map[policy.Mode]bool{policy.Enforce: false, policy.Propose: true} {
		h := newHandler(t, mode, registry)
		var told string
		h.Pinner.Layer = func(
			context.Context, resolve.Resolver, pin.Request, []ref.Reference,
		) resolve.Resolver {
			panic("a bug")
		}
		h.Pinner.Panics = &panics.Reporter{Report: func(e *panics.Error) { told = e.Error() }}
		r, code := post(t, h, review("CREATE", "", "Pod", object, ""))
		if code != http.StatusOK || r.Allowed != allowed || string(r.UID) != "u" {
			t.Fatalf("%s: status %d, answer %+v, want allowed %t", mode, code, r, allowed)
		}
		if !allowed && r.Result.Code != http.StatusInternalServerError {
			t.Errorf("%s: code %d, want 500", mode, r.Result.Code)
		}
		if !strings.Contains(told, "review u of namespace team") {
			t.Errorf("%s: the log is told %q, want the review", mode, told)
		}
	}
}
