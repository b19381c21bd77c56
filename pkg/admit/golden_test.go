// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

var update = flag.Bool("update", false, "write the reviews and golden answers anew; read the diff")

// digestOf is what the fake registry answers for a canonical reference.
func digestOf(canonical string) digest.Digest {
	sum := sha256.Sum256([]byte(canonical))
	return digest.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// failure is an error in a class, as a Resolver gives it.
type failure struct {
	text  string
	class error
}

func (f failure) Error() string { return f.text }
func (f failure) Unwrap() error { return f.class }

var registry = resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
	switch {
	case strings.HasSuffix(req.Ref.Path(), "missing"):
		return resolve.Result{}, failure{req.Ref.Host() + ": manifest not found (404)", resolve.ErrNotFound}
	case strings.HasSuffix(req.Ref.Path(), "down"):
		return resolve.Result{}, failure{req.Ref.Host() + ": unreachable", resolve.ErrUnavailable}
	case strings.HasSuffix(req.Ref.Path(), "private"):
		return resolve.Result{}, failure{req.Ref.Host() + ": denied (401)", resolve.ErrUnauthorized}
	}
	return resolve.Result{Digest: digestOf(req.Ref.Canonical())}, nil
})

var custom = []workload.Template{
	{Group: "argoproj.io", Kind: "Rollout", Paths: []string{"spec.template"}},
	{Group: "jobset.x-k8s.io", Kind: "JobSet", Paths: []string{"spec.replicatedJobs[*].template.spec.template"}},
}

func newHandler(t testing.TB, mode policy.Mode, r resolve.Resolver) *admit.Handler {
	t.Helper()
	table, err := workload.NewTable(custom...)
	if err != nil {
		t.Fatal(err)
	}
	return &admit.Handler{
		Pinner: &pin.Pinner{Resolver: r}, Table: table, Mode: mode,
		OnFailure: admit.OnFailure{NotFound: admit.Deny, Unauthorized: admit.Defer, Unavailable: admit.Defer, Invalid: admit.Deny},
	}
}

func post(t *testing.T, h http.Handler, body []byte) (*admissionv1.AdmissionResponse, int) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/enforce?timeout=10s", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return nil, w.Code
	}
	var rv admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &rv); err != nil {
		t.Fatalf("answer is no AdmissionReview: %v\n%s", err, w.Body)
	}
	return rv.Response, w.Code
}

// kinds are the rows of the table of places: how an object of the kind holds a template. Several
// templates share one annotation where a kind has a list of them.
var kinds = []struct {
	group, version, kind string
	wrap                 func(template map[string]any) map[string]any
}{
	{"", "v1", "Pod", func(t map[string]any) map[string]any { return t }},
	{"apps", "v1", "Deployment", inSpecTemplate},
	{"apps", "v1", "ReplicaSet", inSpecTemplate},
	{"apps", "v1", "StatefulSet", inSpecTemplate},
	{"apps", "v1", "DaemonSet", inSpecTemplate},
	{"batch", "v1", "Job", inSpecTemplate},
	{"", "v1", "ReplicationController", inSpecTemplate},
	{"batch", "v1", "CronJob", func(t map[string]any) map[string]any {
		return map[string]any{"spec": map[string]any{"jobTemplate": inSpecTemplate(t)}}
	}},
	{"", "v1", "PodTemplate", func(t map[string]any) map[string]any { return map[string]any{"template": t} }},
	{"argoproj.io", "v1alpha1", "Rollout", inSpecTemplate},
	{"jobset.x-k8s.io", "v1alpha2", "JobSet", func(t map[string]any) map[string]any {
		return map[string]any{"spec": map[string]any{"replicatedJobs": []any{
			map[string]any{"name": "w", "template": inSpecTemplate(t)},
		}}}
	}},
}

func inSpecTemplate(t map[string]any) map[string]any {
	return map[string]any{"spec": map[string]any{"template": t}}
}

// template has a reference in each of the four places, a field that no client library knows, and
// beside them what holds no image.
func template(kind string, image func(place string) string) map[string]any {
	spec := map[string]any{
		"fieldOfTomorrow": map[string]any{"image": "untouched:1"},
		"initContainers":  []any{map[string]any{"name": "init", "image": image("init")}},
		"containers": []any{
			map[string]any{"name": "app", "image": image("app"), "futureField": []any{1, "x"}},
			map[string]any{"name": "pinned", "image": "ghcr.io/a/b:1@" + digestOf("author").String()},
			map[string]any{"name": "local", "image": "local/only:1", "imagePullPolicy": "Never"},
		},
		"volumes": []any{
			map[string]any{"name": "model", "image": map[string]any{"reference": image("model"), "pullPolicy": "IfNotPresent"}},
			map[string]any{"name": "disk", "rbd": map[string]any{"image": "no-image:1", "monitors": []any{"m"}}},
		},
	}
	if kind == "Pod" {
		spec["ephemeralContainers"] = []any{map[string]any{"name": "debug", "image": image("debug")}}
	}
	return map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "x"}}, "spec": spec}
}

// texts are what an author writes in each place.
var texts = map[string]string{
	"init": "busybox", "app": "registry.example:5000/team/app:1.2", "debug": "docker.io/library/busybox:latest", "model": "ghcr.io/m/model:v1",
}

func tagged(place string) string { return texts[place] }

// moved is what a pin from before a move of the tag looks like.
func moved(place string) string { return texts[place] + "@" + digestOf("before the move").String() }

func other(place string) string {
	return strings.TrimSuffix(texts[place], ":latest") + "-v2"
}

// cases are what an operation brings: the images of the object before, and after.
var cases = []struct {
	name, operation string
	before, after   func(place string) string
}{
	{"create", "CREATE", nil, tagged},
	{"update-unchanged", "UPDATE", tagged, tagged},
	{"update-sticky", "UPDATE", moved, tagged},
	{"update-changed", "UPDATE", moved, other},
}

func TestGolden(t *testing.T) {
	for _, k := range kinds {
		for _, c := range cases {
			name := strings.ToLower(k.kind) + "-" + c.name
			body := reviewFile(t, name, k.group, k.version, k.kind, c.operation, func(image func(string) string) map[string]any {
				o := k.wrap(template(k.kind, image))
				o["apiVersion"], o["kind"] = strings.TrimPrefix(k.group+"/"+k.version, "/"), k.kind
				if o["metadata"] == nil {
					o["metadata"] = map[string]any{}
				}
				o["metadata"].(map[string]any)["name"] = "x"
				return o
			}, c.before, c.after)
			for _, mode := range []policy.Mode{policy.Enforce, policy.Propose, policy.Keep} {
				t.Run(name+"/"+mode.String(), func(t *testing.T) { golden(t, name, mode, body) })
			}
		}
	}
}

// reviewFile is the review of a case: read, or with -update made and written.
func reviewFile(t *testing.T, name, group, version, kind, operation string, object func(func(string) string) map[string]any, before, after func(string) string) []byte {
	t.Helper()
	path := filepath.Join("testdata", name+".review.json")
	if *update {
		request := map[string]any{
			"uid": "u-" + name, "operation": operation, "namespace": "team", "name": "x",
			"kind":     map[string]any{"group": group, "version": version, "kind": kind},
			"userInfo": map[string]any{"username": "jane"}, "object": object(after), "oldObject": nil,
		}
		if before != nil {
			request["oldObject"] = object(before)
		}
		write(t, path, map[string]any{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func write(t *testing.T, path string, v any) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// goldenAnswer is an answer as it is kept in testdata.
type goldenAnswer struct {
	Allowed  bool            `json:"allowed"`
	Message  string          `json:"message,omitempty"`
	Patch    json.RawMessage `json:"patch,omitempty"`
	Warnings []string        `json:"warnings,omitempty"`
	Audit    string          `json:"audit,omitempty"`
}

func golden(t *testing.T, name string, mode policy.Mode, body []byte) {
	r, _ := post(t, newHandler(t, mode, registry), body)
	got := goldenAnswer{Allowed: r.Allowed, Patch: r.Patch, Warnings: r.Warnings, Audit: r.AuditAnnotations["pins"]}
	if r.Result != nil {
		got.Message = r.Result.Message
	}
	path := filepath.Join("testdata", name+"."+mode.String()+".patch.json")
	if *update {
		write(t, path, got)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want goldenAnswer
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(normal(t, want), normal(t, got)); diff != "" {
		t.Errorf("answer differs from %s (-want +got):\n%s", path, diff)
	}
	checkObject(t, name, mode, body, r)
}

func normal(t *testing.T, a goldenAnswer) any {
	t.Helper()
	raw, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// checkObject applies the patch and compares the object with what the rules say, worked out here in
// another way than there: by replacing texts in the JSON of the object.
func checkObject(t *testing.T, name string, mode policy.Mode, body []byte, r *admissionv1.AdmissionResponse) {
	t.Helper()
	var rv struct {
		Request struct{ Object json.RawMessage }
	}
	if err := json.Unmarshal(body, &rv); err != nil {
		t.Fatal(err)
	}
	got := []byte(rv.Request.Object)
	if r.Patch != nil {
		p, err := jsonpatch.DecodePatch(r.Patch)
		if err != nil {
			t.Fatal(err)
		}
		if got, err = p.Apply(got); err != nil {
			t.Fatalf("the patch does not apply: %v", err)
		}
	}
	want := string(rv.Request.Object)
	for place, text := range texts {
		switch {
		case strings.HasSuffix(name, "-sticky"):
			want = strings.ReplaceAll(want, `"`+text+`"`, `"`+moved(place)+`"`)
		case strings.HasSuffix(name, "-create") && mode == policy.Enforce:
			want = strings.ReplaceAll(want, `"`+text+`"`, `"`+text+"@"+digestOf(canonical(text)).String()+`"`)
		case strings.HasSuffix(name, "-changed") && mode == policy.Enforce:
			want = strings.ReplaceAll(want, `"`+other(place)+`"`, `"`+other(place)+"@"+digestOf(canonical(other(place))).String()+`"`)
		}
	}
	if diff := cmp.Diff(withoutAnnotations(t, []byte(want)), withoutAnnotations(t, got)); diff != "" {
		t.Errorf("object after the patch (-want +got):\n%s", diff)
	}
}

func canonical(text string) string {
	if !strings.Contains(text, "/") {
		text = "docker.io/library/" + text
	}
	if !strings.Contains(text[strings.LastIndex(text, "/"):], ":") {
		text += ":latest"
	}
	return text
}

// withoutAnnotations decodes an object and drops its annotations: the golden files hold those.
func withoutAnnotations(t *testing.T, raw []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	var drop func(any)
	drop = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			delete(v, "annotations")
			if m, ok := v["metadata"].(map[string]any); ok && len(m) == 0 {
				delete(v, "metadata")
			}
			for _, e := range v {
				drop(e)
			}
		case []any:
			for _, e := range v {
				drop(e)
			}
		}
	}
	drop(v)
	return v
}

// checkPatch applies a patch to the object of a review.
func checkPatch(t *testing.T, body, patch []byte) {
	t.Helper()
	var rv struct {
		Request struct{ Object json.RawMessage }
	}
	if json.Unmarshal(body, &rv) != nil || bytes.Count(bytes.ToLower(body), []byte(`"object"`)) != 1 {
		return // what decoders take differently
	}
	p, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatalf("patch %s: %v", patch, err)
	}
	if _, err := p.Apply(rv.Request.Object); err != nil {
		t.Fatalf("patch %s does not apply to %s: %v", patch, rv.Request.Object, err)
	}
}
