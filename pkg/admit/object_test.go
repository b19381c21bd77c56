// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// owned returns a workload with an owner reference.
func owned(apiVersion, kind string, controller bool) string {
	return fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":%q,"kind":%q,"name":"o","uid":"1","controller":%t}]},
		"spec":{"template":{"metadata":{},"spec":{"containers":[{"name":"a","image":"nginx"}]}}}}`, apiVersion, kind, controller)
}

// TestOddObjects reviews objects that are unusual, or that the rules skip.
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
		{"no metadata at all", "CREATE", "", "Pod", nginxPod, true, 2},
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
				t.Error("denied without a message")
			}
		})
	}
}

// TestOddNames checks that texts which JSON or JSON pointers escape are the same after the patch.
func TestOddNames(t *testing.T) {
	for _, name := range []string{`a/b`, `a~b`, `a~1b`, `a"b`, `a\b`, "größe", "a	b", "<&>"} {
		object, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"annotations": map[string]any{name: name}},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": name, "image": "ghcr.io/a/b:1"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		r := respond(t, policy.Enforce, review("CREATE", "", "Pod", string(object), ""))
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
		c := pod.Spec.Containers[0]
		if c.Name != name || c.Image != want || pins[name] != want || pod.Annotations[name] != name {
			t.Errorf("%q: container %q has %s, the entry is %s, its annotation %q", name, c.Name, c.Image, pins[name], pod.Annotations[name])
		}
	}
}

// TestLongImage checks that an image whose text is too long to be looked up is a failure of the
// class invalid, because a node that rewrites hosts may pull it.
func TestLongImage(t *testing.T) {
	name := strings.Repeat("n", 1<<20)
	for _, image := range []string{strings.Repeat("\x7f", 3<<20), strings.Repeat("a.", 150) + "example/a:1"} {
		object := `{"spec":{"containers":[{"name":"a","image":"nginx"},
			{"name":"` + name + `","image":"` + image + `"}]}}`
		r := respond(t, policy.Enforce, review("CREATE", "", "Pod", object, ""))
		if r.Allowed || !strings.Contains(r.Result.Message, "nnn") || !strings.Contains(r.Result.Message, "too long") {
			t.Errorf("answer %+v, want it denied with the reason", r.Result)
		}
		r = respond(t, policy.Propose, review("CREATE", "", "Pod", object, ""))
		if !r.Allowed || !strings.Contains(strings.Join(r.Warnings, ""), "nnn") {
			t.Errorf("dry-run: allowed %t, warnings %q, want one about the second image", r.Allowed, r.Warnings)
		}
		h := newHandler(t, policy.Enforce, registry)
		h.OnFailure[failure.Invalid] = failure.Allow
		r, _ = post(t, h, review("CREATE", "", "Pod", object, ""))
		patch := string(r.Patch)
		if !r.Allowed || !strings.Contains(patch, "/containers/0/image") || strings.Count(patch, "/image") != 1 {
			t.Errorf("with onFailure allow: %v, patch %.300s, want only the first image pinned", r.Result, patch)
		}
	}
}

// TestManySticky applies a large Deployment again with another label. The templates are compared
// once, and not once for each container.
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
		t.Errorf("%v allocations, want at most 100 for each container", got)
	}
	if n := strings.Count(string(r.Patch), `"replace"`); n != 512 || len(r.Warnings) == 0 {
		t.Errorf("%d pins restored, %d warnings, want 512 and some", n, len(r.Warnings))
	}
}

// TestManyTemplates checks that the costs grow with the number of templates, and not with its
// square, although they share an annotation.
func TestManyTemplates(t *testing.T) {
	table := new(workload.Table)
	if err := table.Add(workload.Kind{Group: "g", Kind: "Set"}, []string{"spec.jobs[*].template"}, nil); err != nil {
		t.Fatal(err)
	}
	h := newHandler(t, policy.Enforce, registry)
	h.Table = table
	allocations := func(n int) float64 {
		object := func(marker string) string {
			var jobs, entries []string
			for i := range n {
				jobs = append(jobs, fmt.Sprintf(`{"name":"j%d","template":{"spec":{"serviceAccountName":"s%d","containers":[{"name":"c","image":"nginx:1"}]}}}`, i, i))
				entries = append(entries, fmt.Sprintf(`"/spec/jobs/j%d/template/spec:c":"nginx:1@%s"`, i, digestOf("x")))
			}
			return fmt.Sprintf(`{"metadata":{"annotations":{"tagpin.dev/refresh":%q,"tagpin.dev/pins":%q}},"spec":{"jobs":[%s]}}`,
				marker, "{"+strings.Join(entries, ",")+"}", strings.Join(jobs, ","))
		}
		body := review("UPDATE", "g", "Set", object("b"), object("a"))
		return testing.AllocsPerRun(1, func() { post(t, h, body) })
	}
	const few, many = 100, 400
	if a, b := allocations(few), allocations(many); b > a*2*many/few {
		t.Errorf("%v allocations for %d templates, %v for %d, want at most twice as many for each", a, few, b, many)
	}
}
