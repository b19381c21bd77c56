// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"encoding/json"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tagpin/tagpin/pkg/policy"
)

// checkObject applies the patch and compares the object with what the rules say. It finds that in
// another way than package policy: by replacing texts in the JSON of the object.
func checkObject(
	t *testing.T, name string, mode policy.Mode, body []byte, r *admissionv1.AdmissionResponse,
) {
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
	quoted := func(text string) string { return `"` + text + `"` }
	pinned := func(text string) string { return quoted(text + "@" + digestOf(canonical(text)).String()) }
	for container, text := range texts {
		changed := nextVersion(container)
		switch {
		case strings.HasSuffix(name, "-sticky"):
			want = strings.ReplaceAll(want, quoted(text), quoted(moved(container)))
		case strings.HasSuffix(name, "-create") && mode == policy.Enforce:
			want = strings.ReplaceAll(want, quoted(text), pinned(text))
		case strings.HasSuffix(name, "-changed") && mode == policy.Enforce:
			want = strings.ReplaceAll(want, quoted(changed), pinned(changed))
		}
	}
	if diff := cmp.Diff(withoutAnnotations(t, []byte(want)), withoutAnnotations(t, got)); diff != "" {
		t.Errorf("object after the patch: -want +got\n%s", diff)
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

// withoutAnnotations decodes an object and drops its annotations, which the golden files have.
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
