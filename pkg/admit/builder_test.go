// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// TestKeptPinOfTagpin checks that a new container takes the digest of tagpin's own pin if there are
// two pins of one text.
func TestKeptPinOfTagpin(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	o := workloadOf()
	spec := specOf(templateOf(o))
	author := map[string]any{"name": "author", "image": "r:1@" + digestOf("author").String()}
	spec["containers"] = append(spec["containers"].([]any), author)
	l.send(o)
	l.push = "two"
	l.change(func(template map[string]any) {
		spec := specOf(template)
		spec["containers"] = append([]any{map[string]any{"name": "new", "image": "r:1"}}, spec["containers"].([]any)...)
	})
	l.wantImage("a new container", "r:1", "one")
}

// TestDigestOnly checks that the tag is dropped, and that only the annotation says which text a pin
// was made for.
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
		t.Errorf("patch %s, want no guess that the old pin was made for nginx", r.Patch)
	}
}

// TestStickyWarns checks that there is a warning if a pin stays although the template has changed
// otherwise.
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

// TestNoAdvice checks that modes that make no pins don't say how to refresh them.
func TestNoAdvice(t *testing.T) {
	for _, mode := range []policy.Mode{policy.Keep, policy.Propose} {
		l := newLife(t, "apps/Deployment")
		l.send(workloadOf())
		l.handler.Mode = mode
		o := workloadOf()
		specOf(templateOf(o))["hostNetwork"] = true
		l.send(o)
		if len(l.last.Warnings) != 1 || !strings.HasSuffix(l.last.Warnings[0], "though the template has changed") {
			t.Errorf("%s: warnings = %q, want one without advice", mode, l.last.Warnings)
		}
	}
}

// TestHowToRefresh checks that the advice in a warning works for the kind: kubectl restarts three
// kinds, and a CRD may prune the metadata of its templates.
func TestHowToRefresh(t *testing.T) {
	for kind, want := range map[string]string{
		"apps/Deployment": "anew: kubectl rollout restart, or change the pod template's annotation tagpin.dev/refresh",
		"apps/ReplicaSet": "anew: change the pod template's annotation tagpin.dev/refresh",
		"batch/Job":       "anew: make a new Job",
		"g/Custom":        "anew: change the object's annotation tagpin.dev/refresh",
	} {
		l := newLife(t, kind)
		table := new(workload.Table)
		if err := table.Add(workload.Kind{Group: "g", Kind: "Custom"}, []string{"spec.template"}, nil); err != nil {
			t.Fatal(err)
		}
		l.handler.Table = table
		l.send(workloadOf())
		changed := workloadOf()
		specOf(templateOf(changed))["hostNetwork"] = true
		l.send(changed)
		if len(l.last.Warnings) != 1 || !strings.HasSuffix(l.last.Warnings[0], want) {
			t.Errorf("%s: warnings = %q, want %q", kind, l.last.Warnings, want)
		}
	}
}

// TestTagChangedAlone checks that there is a warning if an author changes the tag but not
// the digest: what runs is the old image. No registry is asked.
func TestTagChangedAlone(t *testing.T) {
	for mode, output := range map[policy.Mode]policy.Output{
		policy.Enforce: policy.DigestOnly,
		policy.Propose: policy.TagAndDigest,
		policy.Keep:    policy.TagAndDigest,
	} {
		l := newLife(t, "apps/Deployment")
		l.handler.Pinner.Policy.Output = output
		l.send(workloadOf())
		l.handler.Mode = mode
		asked := l.asked
		l.change(func(template map[string]any) {
			container := containerOf(template, 0)
			container["image"] = "r:2@" + digestOf("one").String()
		})
		l.wantImage("edited", "r:2", "one")
		const want = `container "app": r:2 is still the image of r:1, since the digest beside it ` +
			`has not changed; if that is not meant, write the digest of r:2, or remove the digest`
		if len(l.last.Warnings) != 1 || l.last.Warnings[0] != want {
			t.Errorf("%s: warnings = %q, want %q", mode, l.last.Warnings, want)
		}
		if l.asked != asked {
			t.Errorf("%s: %d lookups, want none", mode, l.asked-asked)
		}
		l.mark("note", "x")
		if len(l.last.Warnings) != 0 {
			t.Errorf("%s: another edit: warnings = %q, want none", mode, l.last.Warnings)
		}
	}
}

// TestDebugWarns checks that a person who debugs a pod of a ReplicaSet gets warnings, and the
// ReplicaSet gets none.
func TestDebugWarns(t *testing.T) {
	const pod = `{"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","controller":true}]},"spec":{"ephemeralContainers":[%s]}}`
	body := review("UPDATE", "", "Pod", fmt.Sprintf(pod, `{"name":"debug","image":"a:1:2"}`), fmt.Sprintf(pod, ""))
	for subresource, want := range map[string]int{"": 0, "ephemeralcontainers": 1} {
		r := respond(t, policy.Enforce, []byte(strings.Replace(string(body), `"uid"`, `"subResource":"`+subresource+`","uid"`, 1)))
		if len(r.Warnings) != want {
			t.Errorf("subresource %q: warnings = %q, want %d", subresource, r.Warnings, want)
		}
	}
}
