// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"fmt"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// TestManyPins checks that an annotation that would be too long is left out with a warning, and
// that the images are pinned all the same.
func TestManyPins(t *testing.T) {
	var containers []string
	for i := range 1200 {
		containers = append(containers, fmt.Sprintf(`{"name":"c%d","image":"ghcr.io/a/%s:%d"}`, i, strings.Repeat("x", 100), i))
	}
	object := `{"spec":{"template":{"spec":{"containers":[` + strings.Join(containers, ",") + `]}}}}`
	for mode, replaced := range map[policy.Mode]int{policy.Enforce: 1200, policy.Propose: 0} {
		r := respond(t, mode, review("CREATE", "apps", "Deployment", object, ""))
		if n := strings.Count(string(r.Patch), `"replace"`); !r.Allowed || n != replaced || strings.Contains(string(r.Patch), "annotations") {
			t.Errorf("%s: %d images are replaced, want %d, and no annotation", mode, n, replaced)
		}
		if message := strings.Join(r.Warnings, "\n"); mode == policy.Enforce && !strings.Contains(message, "tagpin.dev/pins would be too long") {
			t.Errorf("warnings %q", r.Warnings)
		}
	}
}

// TestAnnotationsOfOthers checks that other annotations count towards the limit of the API server.
func TestAnnotationsOfOthers(t *testing.T) {
	for _, mode := range []policy.Mode{policy.Enforce, policy.Propose} {
		for free, want := range map[int]bool{99: false, 200: true} {
			others := strings.Repeat(`\"`, 256<<10-free-len("x"))
			object := fmt.Sprintf(`{"metadata":{"annotations":{"x":"%s"}},"spec":{"containers":[{"name":"a","image":"nginx"}]}}`, others)
			r := respond(t, mode, review("CREATE", "", "Pod", object, ""))
			if got := strings.Contains(string(r.Patch), "annotations"); got != want {
				t.Errorf("%s with %d bytes free: an annotation is written = %t, want %t", mode, free, got, want)
			}
		}
	}
}

// TestKeptProposal applies an object without its proposal again. The texts are the same, so the
// proposal is put back.
func TestKeptProposal(t *testing.T) {
	const texts = `"spec":{"template":{"spec":{"containers":[{"name":"a","image":"nginx:1"}]}}}`
	old := `{"metadata":{"annotations":{"tagpin.dev/proposed-pins":"{\"a\":\"nginx:1@sha256:x\"}"}},` + texts + `}`
	r := respond(t, policy.Propose, review("UPDATE", "apps", "Deployment", `{"metadata":{},`+texts+`}`, old))
	if want := `"value":{"tagpin.dev/proposed-pins":"{\"a\":\"nginx:1@sha256:x\"}"}`; !strings.Contains(string(r.Patch), want) {
		t.Errorf("patch %s, want %s in it", r.Patch, want)
	}
}

// TestDryRunRestoresEntries checks that the mode dry-run restores a pin together with its entry.
// Without the entry, the template would differ and be rolled out.
func TestDryRunRestoresEntries(t *testing.T) {
	d := digestOf("before").String()
	old := `{"spec":{"template":{"metadata":{"annotations":{"tagpin.dev/pins":"{\"a\":\"nginx:1@` + d + `\"}"}},"spec":{"containers":[{"name":"a","image":"nginx:1@` + d + `"}]}}}}`
	replaced := `{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"nginx:1"},{"name":"b","image":"busybox"}]}}}}`
	r := respond(t, policy.Propose, review("UPDATE", "apps", "Deployment", replaced, old))
	for _, want := range []string{`"path":"/spec/template/metadata","value":{"annotations":{"tagpin.dev/pins":"{\"a\":\"nginx:1@` + d + `\"}"}}`, `proposed-pins":"{\"b\":`} {
		if !strings.Contains(string(r.Patch), want) {
			t.Errorf("patch %s lacks %s", r.Patch, want)
		}
	}
}

// TestForgedAnnotation checks that an annotation that is forged, outdated or not JSON decides
// nothing, and is dropped.
func TestForgedAnnotation(t *testing.T) {
	for _, annotation := range []string{
		`{"a":"nginx:1@` + digestOf("evil").String() + `"}`, `not JSON`, `[]`, `{"a":1}`, `{"a":"evil.example/x:1@` + digestOf("held").String() + `"}`,
	} {
		object := fmt.Sprintf(`{"metadata":{"annotations":{"tagpin.dev/pins":%q}},"spec":{"containers":[{"name":"a","image":"nginx:1@%s"},{"name":"b","image":"busybox"}]}}`,
			annotation, digestOf("held"))
		r := respond(t, policy.Enforce, review("CREATE", "", "Pod", object, ""))
		want := `{"op":"add","path":"/metadata/annotations/tagpin.dev~1pins","value":"{\"b\":\"busybox@` + digestOf("docker.io/library/busybox:latest").String() + `\"}"}`
		if !strings.Contains(string(r.Patch), want) {
			t.Errorf("annotation %s: patch %s, want %s in it", annotation, r.Patch, want)
		}
	}
}

// TestAuditOfReinvocation checks that the audit annotation has another key in the reinvocation
// round: the API server drops a second value of the first key.
func TestAuditOfReinvocation(t *testing.T) {
	h := newHandler(t, policy.Enforce, registry)
	object := `{"metadata":{},"spec":{"containers":[{"name":"a","image":"nginx"}]}}`
	r, _ := post(t, h, review("CREATE", "", "Pod", object, ""))
	if len(r.AuditAnnotations) != 1 || r.AuditAnnotations["pins"] == "" {
		t.Fatalf("first round: %v", r.AuditAnnotations)
	}
	patch, err := jsonpatch.DecodePatch(r.Patch)
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := patch.Apply([]byte(object))
	if err != nil {
		t.Fatal(err)
	}
	injected := strings.Replace(string(pinned), `"containers":[`, `"containers":[{"name":"sidecar","image":"busybox"},`, 1)
	r, _ = post(t, h, review("CREATE", "", "Pod", injected, ""))
	if len(r.AuditAnnotations) != 1 || r.AuditAnnotations["pins"] != "" {
		t.Errorf("second round: %v, want another key than the first one's", r.AuditAnnotations)
	}
	for key, value := range r.AuditAnnotations {
		if !strings.HasPrefix(key, "pins-") || !strings.Contains(value, "sidecar") {
			t.Errorf("second round: %s: %s, want the sidecar's pin", key, value)
		}
	}
	// A pod inherits the record from its template, so that each of its rounds needs its own key.
	again := strings.Replace(injected, `"containers":[`, `"containers":[{"name":"second","image":"busybox"},`, 1)
	r2, _ := post(t, h, review("CREATE", "", "Pod", again, ""))
	for key := range r2.AuditAnnotations {
		if _, ok := r.AuditAnnotations[key]; ok {
			t.Errorf("another value has the key %s too, want another key", key)
		}
	}
}

// TestTemplateAdded checks that the entries of a template count when another template is added:
// their keys don't depend on the number of templates.
func TestTemplateAdded(t *testing.T) {
	l := newLife(t, "g/Group")
	table := new(workload.Table)
	if err := table.Add(workload.Kind{Group: "g", Kind: "Group"}, []string{"spec.leader", "spec.template"}, nil); err != nil {
		t.Fatal(err)
	}
	l.handler.Table = table
	l.send(workloadOf())
	o := l.copy()
	spec := o["spec"].(map[string]any)
	spec["leader"] = workloadOf()["spec"].(map[string]any)["template"]
	l.push = "two"
	l.send(o)
	l.wantImage("with a leader", "r:1", "one")
	o = l.copy()
	annotate(o, refresh, "a")
	l.send(o)
	l.wantImage("refreshed", "r:1", "two")
}

// TestOddRecords checks that a long marker is recorded by its hash, and that a record that is not
// JSON is ignored.
func TestOddRecords(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.send(workloadOf())
	l.push = "two"
	l.mark(refresh, strings.Repeat("x", 10_000))
	if got := len(l.encode(l.template())); got > 11_000 {
		t.Errorf("the template has %d bytes, want the marker in it only once", got)
	}
	long := l.template()
	l.push = "three"
	l.mark(refresh, strings.Repeat("y", 10_000))
	l.undo(long)
	l.wantImage("undone", "r:1", "two")
	for _, record := range []string{"", "junk", "[]", `{"tagpin.dev/refresh":7}`, "null"} {
		l.push += "+"
		l.change(func(template map[string]any) {
			annotate(template, refresh, l.push)
			annotate(template, "tagpin.dev/refreshed", record)
		})
		l.wantImage(fmt.Sprintf("with the record %q", record), "r:1", l.push)
	}
}

// TestStaleEntry checks that an annotation stays byte for byte if it has all entries that count. An
// entry that doesn't count any more must not change the template.
func TestStaleEntry(t *testing.T) {
	manifest := func(second string) map[string]any {
		o := workloadOf()
		spec := specOf(templateOf(o))
		spec["containers"] = append(spec["containers"].([]any), map[string]any{"name": "b", "image": second})
		return o
	}
	const authors = "x:2@sha256:2222222222222222222222222222222222222222222222222222222222222222"
	for name, send := range map[string]func(l *life, o map[string]any){
		"applied": func(l *life, o map[string]any) {
			template := templateOf(o)
			template["metadata"] = l.template()["metadata"]
			l.send(o)
		},
		"replaced": func(l *life, o map[string]any) { l.send(o) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t, "apps/Deployment")
			l.send(manifest("x:1"))
			l.change(func(template map[string]any) { // kubectl set image
				containerOf(template, 1)["image"] = authors
			})
			before := string(l.encode(l.template()))
			send(l, manifest(authors))
			if got := string(l.encode(l.template())); got != before {
				t.Errorf("the same again: template =\n%s, want\n%s", got, before)
			}
		})
	}
}

// TestOtherEncoding checks that an annotation that another version of tagpin has encoded otherwise
// stays as it is.
func TestOtherEncoding(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.send(workloadOf(refresh, "a"))
	for _, key := range []string{workload.AnnotationPins, workload.AnnotationRefreshed} {
		l.change(func(template map[string]any) {
			annotations := template["metadata"].(map[string]any)["annotations"].(map[string]any)
			annotations[key] = strings.Replace(annotations[key].(string), ":", " : ", 1)
		})
	}
	before := string(l.encode(l.template()))
	l.send(workloadOf(refresh, "a"))
	if got := string(l.encode(l.template())); got != before {
		t.Errorf("the same again: template =\n%s, want\n%s", got, before)
	}
}
