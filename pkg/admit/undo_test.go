// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// A restart in a mode that makes no pins leaves its marker without a record. To undo to it runs the
// revision's own digest all the same: an undo brings the pin with it, and a refresh moves only pins
// that stood there.
func TestUndoToRestartOfOtherModes(t *testing.T) {
	for _, mode := range []policy.Mode{policy.Keep, policy.Propose} {
		l := newLife(t, "apps/Deployment")
		l.send(workloadOf())
		l.handler.Mode = mode
		l.mark(restartedAt, "a")
		restarted := l.template()
		l.handler.Mode, l.push = policy.Enforce, "two"
		l.mark(restartedAt, "b")
		l.wantImage("restarted in enforce", "r:1", "two")
		l.push = "three"
		l.undo(restarted)
		l.wantImage("undone to a restart in "+mode.String(), "r:1", "one")
		l.mark(restartedAt, "c")
		l.wantImage("restarted then", "r:1", "three")
	}
}

// The same for a restart from a time when it was no refresh.
func TestUndoToRestartThatWasNone(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.send(workloadOf())
	l.handler.Pinner.Policy.IgnoreRestart = true
	l.mark(restartedAt, "a")
	restarted := l.template()
	l.handler.Pinner.Policy.IgnoreRestart = false
	l.push = "two"
	l.mark(restartedAt, "b")
	l.push = "three"
	l.undo(restarted)
	l.wantImage("undone", "r:1", "one")
}

// An undo of a kind of templates brings the template alone, while the record stands in the object's
// own metadata. It is of other pins then: the manifest that was undone is resolved when it is
// applied again.
func TestUndoOfTemplateAlone(t *testing.T) {
	l := newLife(t, "argoproj.io/Rollout")
	l.send(workloadOf(refresh, "c1"))
	first := l.template()
	l.push = "two"
	l.send(workloadOf(refresh, "c2"))
	l.wantImage("refreshed", "r:1", "two")
	l.push = "three"
	l.undo(first)
	l.wantImage("undone", "r:1", "one")
	l.mark("note", "x")
	l.wantImage("edited", "r:1", "one")
	applied := func(marker string) map[string]any {
		o := workloadOf(refresh, marker)
		o["metadata"] = l.decode(l.encode(l.stored["metadata"])) // kubectl apply leaves what it does not know
		return o
	}
	l.send(applied("c2"))
	l.wantImage("the manifest again", "r:1", "three")
	l.push = "four"
	l.send(applied("c2"))
	l.wantImage("and again", "r:1", "three")
}

// An entry that counts no more makes no other template: the annotation stays, byte for byte, where
// it tells all that counts.
func TestStaleEntryRollsNothingOut(t *testing.T) {
	manifest := func(second string) map[string]any {
		o := workloadOf()
		spec := o["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
		spec["containers"] = append(spec["containers"].([]any), map[string]any{"name": "b", "image": second})
		return o
	}
	const authors = "x:2@sha256:2222222222222222222222222222222222222222222222222222222222222222"
	for name, send := range map[string]func(l *life, o map[string]any){
		"applied": func(l *life, o map[string]any) {
			template := o["spec"].(map[string]any)["template"].(map[string]any)
			template["metadata"] = l.template()["metadata"]
			l.send(o)
		},
		"replaced": func(l *life, o map[string]any) { l.send(o) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t, "apps/Deployment")
			l.send(manifest("x:1"))
			l.change(func(template map[string]any) { // kubectl set image
				template["spec"].(map[string]any)["containers"].([]any)[1].(map[string]any)["image"] = authors
			})
			before := string(l.encode(l.template()))
			send(l, manifest(authors))
			if got := string(l.encode(l.template())); got != before {
				t.Errorf("the same again: template =\n%s, want\n%s", got, before)
			}
		})
	}
}

// What one version of tagpin has written another one leaves, however it would write it.
func TestOtherEncodingRollsNothingOut(t *testing.T) {
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

// A template that joins another one leaves it its pins: their keys don't depend on how many there
// are.
func TestAnotherTemplateComes(t *testing.T) {
	l := newLife(t, "g/Group")
	table, err := workload.NewTable(workload.Template{Group: "g", Kind: "Group", Paths: []string{"spec.leader", "spec.template"}})
	if err != nil {
		t.Fatal(err)
	}
	l.handler.Table = table
	l.send(workloadOf())
	o := l.decode(l.encode(l.stored))
	spec := o["spec"].(map[string]any)
	spec["leader"] = workloadOf()["spec"].(map[string]any)["template"]
	l.push = "two"
	l.send(o)
	l.wantImage("with a leader", "r:1", "one")
	o = l.decode(l.encode(l.stored))
	annotate(o, refresh, "a")
	l.send(o)
	l.wantImage("refreshed", "r:1", "two")
}

// Of two pins of one text, tagpin's own is what a new container takes, wherever they stand.
func TestKeptIsOurs(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	o := workloadOf()
	spec := o["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
	author := map[string]any{"name": "author", "image": "r:1@" + digestOf("author").String()}
	spec["containers"] = append(spec["containers"].([]any), author)
	l.send(o)
	l.push = "two"
	l.change(func(template map[string]any) {
		spec := template["spec"].(map[string]any)
		spec["containers"] = append([]any{map[string]any{"name": "new", "image": "r:1"}}, spec["containers"].([]any)...)
	})
	l.wantImage("a new container", "r:1", "one")
}

// Annotations of others count too: what would make them too many is left out, in a dry run as well,
// which never denies.
func TestAnnotationsOfOthers(t *testing.T) {
	for _, mode := range []policy.Mode{policy.Enforce, policy.Propose} {
		for free, want := range map[int]bool{99: false, 200: true} {
			others := strings.Repeat(`\"`, 256<<10-free-len("x"))
			object := fmt.Sprintf(`{"metadata":{"annotations":{"x":"%s"}},"spec":{"containers":[{"name":"a","image":"nginx"}]}}`, others)
			r, _ := post(t, newHandler(t, mode, registry), review("CREATE", "", "Pod", object, ""))
			if got := strings.Contains(string(r.Patch), "annotations"); got != want {
				t.Errorf("%s, %d bytes are free: an annotation is written: %t, want %t", mode, free, got, want)
			}
		}
	}
}

// Modes that make no pins give no advice that does not work there.
func TestNoAdviceInOtherModes(t *testing.T) {
	for _, mode := range []policy.Mode{policy.Keep, policy.Propose} {
		l := newLife(t, "apps/Deployment")
		l.send(workloadOf())
		l.handler.Mode = mode
		o := workloadOf()
		o["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["hostNetwork"] = true
		l.send(o)
		if len(l.last.Warnings) != 1 || !strings.HasSuffix(l.last.Warnings[0], "though the template has changed") {
			t.Errorf("%s: warnings = %q", mode, l.last.Warnings)
		}
	}
}

// Who debugs a pod of a ReplicaSet is told what they should know; who made the pod reads no
// warnings.
func TestDebugWarns(t *testing.T) {
	const pod = `{"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","controller":true}]},"spec":{"ephemeralContainers":[%s]}}`
	body := review("UPDATE", "", "Pod", fmt.Sprintf(pod, `{"name":"debug","image":"a:1:2"}`), fmt.Sprintf(pod, ""))
	for subresource, want := range map[string]int{"": 0, "ephemeralcontainers": 1} {
		r, _ := post(t, newHandler(t, policy.Enforce, registry), []byte(strings.Replace(string(body), `"uid"`, `"subResource":"`+subresource+`","uid"`, 1)))
		if len(r.Warnings) != want {
			t.Errorf("subresource %q: warnings = %q, want %d", subresource, r.Warnings, want)
		}
	}
}

// A list of many templates costs what they are, not their square, whatever its annotation holds.
func TestManyTemplatesAreLinear(t *testing.T) {
	table, err := workload.NewTable(workload.Template{Group: "g", Kind: "Set", Paths: []string{"spec.jobs[*].template"}})
	if err != nil {
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
		t.Errorf("%v allocations for %d templates, %v for %d", a, few, b, many)
	}
}

// An undo to a restart that was made in another mode runs the revision's own digest, also if it is
// the current one: the restart has no record, but it is older than the live one.
func TestUndoToOlderRestart(t *testing.T) {
	for _, mode := range []policy.Mode{policy.Keep, policy.Propose} {
		l := newLife(t, "apps/Deployment")
		l.send(workloadOf())
		l.handler.Mode = mode
		l.mark(restartedAt, at(1))
		older := l.template()
		l.mark(restartedAt, at(2))
		l.handler.Mode, l.push = policy.Enforce, "two"
		asked := l.asked
		l.undo(older)
		l.wantImage("undone to a restart in "+mode.String(), "r:1", "one")
		if l.asked != asked {
			t.Errorf("%s: undone with %d look-ups, want none", mode, l.asked-asked)
		}
		l.mark(restartedAt, at(3))
		l.wantImage("restarted then", "r:1", "two")
	}
}

// A digest that an author wrote over tagpin's pin, without the tag, is not moved by a restart.
func TestRestartLeavesDigestWithoutTag(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.send(workloadOf())
	l.change(func(template map[string]any) { // as kubectl set image does
		container := template["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
		container["image"] = "r@" + digestOf("one").String()
	})
	l.push = "two"
	l.mark(restartedAt, at(1))
	l.wantImage("restarted", "r", "one")
	l.send(workloadOf(refresh, "a"))
	l.wantImage("a tag again, and refreshed", "r:1", "two")
}

// An edit that changes the tag beside a digest, and not the digest, runs the old image: its author
// is told, and no registry is asked.
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
			container := template["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
			container["image"] = "r:2@" + digestOf("one").String()
		})
		l.wantImage("edited", "r:2", "one")
		const want = `container "app": r:2 is still the image of r:1, since the digest beside it ` +
			`has not changed; if that is not meant, write the digest of r:2, or remove the digest`
		if len(l.last.Warnings) != 1 || l.last.Warnings[0] != want {
			t.Errorf("%s: warnings = %q, want %q", mode, l.last.Warnings, want)
		}
		if l.asked != asked {
			t.Errorf("%s: %d look-ups, want none", mode, l.asked-asked)
		}
		l.mark("note", "x")
		if len(l.last.Warnings) != 0 {
			t.Errorf("%s: another edit: warnings = %q, want none", mode, l.last.Warnings)
		}
	}
}
