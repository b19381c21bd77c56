// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// TestMarkerFromTheBeginning checks that a marker of the first manifest is recorded, so that an
// undo to that revision is no refresh.
func TestMarkerFromTheBeginning(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.send(workloadOf(refresh, "c1"))
	first := l.template()
	l.push = "two"
	l.send(workloadOf(refresh, "c2"))
	l.wantImage("another commit", "r:1", "two")
	l.push = "three"
	l.undo(first)
	l.wantImage("undone", "r:1", "one")
	l.send(workloadOf(refresh, "c1"))
	l.wantImage("the same manifest again", "r:1", "one")
}

// TestApplyAfterRefresh checks that applying a manifest again changes nothing, although it does not
// have what tagpin and kubectl have added.
func TestApplyAfterRefresh(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.send(workloadOf(refresh, "c1"))
	l.push = "two"
	l.send(workloadOf(refresh, "c2"))
	before := string(l.encode(l.stored))
	l.push = "three"
	asked := l.asked
	l.send(workloadOf(refresh, "c2"))
	if got := string(l.encode(l.stored)); got != before || l.asked != asked {
		t.Errorf("applied again, %d lookups:\n%s, want none and\n%s", l.asked-asked, got, before)
	}
	l.send(workloadOf())
	l.wantImage("without the marker", "r:1", "two")
	l.send(workloadOf(refresh, ""))
	l.wantImage("with an empty one", "r:1", "two")
}

// TestRefreshLeavesAlone checks that a refresh does not move an image that its author has pinned,
// that is never pulled, or that has no valid text.
func TestRefreshLeavesAlone(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	o := workloadOf()
	containers := []any{
		map[string]any{"name": "app", "image": "r:1"},
		map[string]any{"name": "author", "image": "r:1@" + digestOf("author").String()},
		map[string]any{"name": "never", "image": "r:1", "imagePullPolicy": "Never"},
		map[string]any{"name": "blank"},
		map[string]any{"name": "bad", "image": "r@junk"},
		// A name of 64 hexadecimal digits is only valid before a digest.
		map[string]any{"name": "hex", "image": strings.Repeat("a", 64) + "@" + digestOf("author").String()},
	}
	templateOf(o)["spec"] = map[string]any{"containers": containers}
	annotate(templateOf(o), "tagpin.dev/pins",
		fmt.Sprintf(`{"hex":%q}`, containers[5].(map[string]any)["image"]))
	l.send(o)
	want := strings.ReplaceAll(string(l.encode(l.template()["spec"])), digestOf("one").String(), digestOf("two").String())
	l.push = "two"
	l.mark(restartedAt, "now")
	if got := string(l.encode(l.template()["spec"])); got != want {
		t.Errorf("refreshed: spec =\n%s, want\n%s", got, want)
	}
}

// TestRefreshOfUnpinned checks that a restart, or a new value of tagpin.dev/refresh, pins an image
// from before tagpin, or one that was admitted while tagpin did not answer: its pods are replaced
// anyway. The same manifest applied again pins nothing.
func TestRefreshOfUnpinned(t *testing.T) {
	for marker, value := range map[string]string{restartedAt: "now", refresh: "c1"} {
		l := newLife(t, "apps/Deployment")
		l.stored = workloadOf()
		l.send(workloadOf())
		l.wantImage("applied again", "r:1", "")
		l.change(func(template map[string]any) { template["unrelated"] = "edit" })
		l.wantImage("edited", "r:1", "")
		l.mark(marker, value)
		l.wantImage("after a new "+marker, "r:1", "one")
	}
}

// TestApplyAgain checks that a manifest without tagpin's annotations does not count as a changed
// template.
func TestApplyAgain(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.send(workloadOf(refresh, "a"))
	l.send(workloadOf(refresh, "b"))
	l.send(workloadOf(refresh, "b"))
	if len(l.last.Warnings) > 0 {
		t.Errorf("warnings = %q, want none", l.last.Warnings)
	}
}

// TestNoRefresh checks that Pods and Jobs are never refreshed, that the template of a Job stays as
// it is, and that refreshOnRestart can be switched off.
func TestNoRefresh(t *testing.T) {
	l := newLife(t, "batch/Job")
	l.send(workloadOf(refresh, "a"))
	before := string(l.encode(l.template()))
	l.push = "two"
	l.mark(refresh, "b")
	l.wantImage("a Job", "r:1", "one")
	l.send(workloadOf(refresh, "a"))
	if got := string(l.encode(l.template())); got != before {
		t.Errorf("a Job applied again: template =\n%s, want\n%s", got, before)
	}
	l = newLife(t, "apps/Deployment")
	l.handler.Pinner.Policy.IgnoreRestart = true
	l.send(workloadOf())
	l.push = "two"
	l.mark(restartedAt, "a")
	l.wantImage("refreshOnRestart: false", "r:1", "one")
	l.mark(refresh, "a")
	l.wantImage("refreshed", "r:1", "two")
}

// TestRefreshAnnotations checks that an annotation of the config counts as kubectl rollout restart
// does, and another one does not.
func TestRefreshAnnotations(t *testing.T) {
	const keel = "keel.sh/update-time"
	l := newLife(t, "apps/Deployment")
	l.send(workloadOf())
	l.push = "two"
	l.mark(keel, "a")
	l.wantImage("not in the config", "r:1", "one")
	l.handler.Table = &workload.Table{RefreshAnnotations: []string{keel}}
	l.mark(keel, "b")
	l.wantImage("refreshed", "r:1", "two")
	l.push = "three"
	l.mark("other.example/at", "b")
	l.wantImage("another annotation", "r:1", "two")
	l.down = failure.NotFound
	l.mark(keel, "c")
	l.wantImage("its lookup fails", "r:1", "two")
}

// TestNoRefreshInOtherModes checks that modes that make no pins don't refresh them either.
func TestNoRefreshInOtherModes(t *testing.T) {
	for _, mode := range []policy.Mode{policy.Keep, policy.Propose} {
		l := newLife(t, "apps/Deployment")
		l.send(workloadOf())
		l.push, l.handler.Mode = "two", mode
		l.mark(restartedAt, "a")
		l.wantImage(mode.String()+": restarted", "r:1", "one")
		l.send(workloadOf(refresh, "a"))
		l.wantImage(mode.String()+": applied with a marker", "r:1", "one")
	}
	l := newLife(t, "apps/Deployment")
	l.handler.Mode = policy.Propose
	l.send(workloadOf())
	l.push = "two"
	l.mark(restartedAt, "a")
	annotations, _ := l.stored["metadata"].(map[string]any)["annotations"].(map[string]any)
	if got, want := annotations["tagpin.dev/proposed-pins"], `{"app":"r:1@`+digestOf("two").String()+`"}`; got != want {
		t.Errorf("proposed after a restart: %v, want %s", got, want)
	}
}

// TestRefreshPruned checks that a kind whose CRD prunes the metadata of its templates has its
// marker, its record and its pins in its own metadata.
func TestRefreshPruned(t *testing.T) {
	prune := func(o map[string]any) map[string]any {
		delete(templateOf(o), "metadata")
		return o
	}
	manifest := func(marker string) map[string]any {
		o := prune(workloadOf())
		if marker != "" {
			o["metadata"].(map[string]any)["annotations"] = map[string]any{refresh: marker}
		}
		return o
	}
	l := newLife(t, "argoproj.io/Rollout")
	l.send(manifest(""))
	l.wantImage("created", "r:1", "one")
	l.push = "two"
	l.send(manifest(""))
	l.wantImage("the same again", "r:1", "one")
	l.send(manifest("a"))
	l.wantImage("with a marker", "r:1", "two")
	l.push = "three"
	l.send(manifest("a"))
	l.wantImage("the same marker again", "r:1", "two")
	l.send(manifest("b"))
	l.wantImage("with another", "r:1", "three")
}

// TestRefreshInBoth checks that for a kind whose CRD may prune its templates, each of the object's
// own marker and that of the template asks for a refresh, also if both are set.
func TestRefreshInBoth(t *testing.T) {
	manifest := func(own, template string) map[string]any {
		o := workloadOf(refresh, template)
		o["metadata"].(map[string]any)["annotations"] = map[string]any{refresh: own}
		return o
	}
	l := newLife(t, "argoproj.io/Rollout")
	l.send(manifest("x", "c1"))
	l.wantImage("created", "r:1", "one")
	l.push = "two"
	l.send(manifest("x", "c2"))
	l.wantImage("the template's marker changed", "r:1", "two")
	l.push = "three"
	l.send(manifest("x", "c2"))
	l.wantImage("the same again", "r:1", "two")
	l.send(manifest("y", "c2"))
	l.wantImage("the object's marker changed", "r:1", "three")
	l.push = "four"
	l.send(manifest("y", "c2"))
	l.wantImage("applied again", "r:1", "three")
}

// TestRefreshDigestOnly checks that a refresh takes the text from the annotation if the output
// drops tags.
func TestRefreshDigestOnly(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.handler.Pinner.Policy.Output = policy.DigestOnly
	l.send(workloadOf())
	l.push = "two"
	l.mark(restartedAt, "a")
	l.wantImage("refreshed", "r", "two")
	l.send(workloadOf())
	l.wantImage("applied again", "r", "two")
}

// TestRestartLeavesDigestWithoutTag checks that a restart does not move a digest that an author
// wrote over tagpin's pin, without the tag.
func TestRestartLeavesDigestWithoutTag(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.send(workloadOf())
	l.change(func(template map[string]any) { // as kubectl set image does
		container := containerOf(template, 0)
		container["image"] = "r@" + digestOf("one").String()
	})
	l.push = "two"
	l.mark(restartedAt, at(1))
	l.wantImage("restarted", "r", "one")
	l.send(workloadOf(refresh, "a"))
	l.wantImage("a tag again, and refreshed", "r:1", "two")
}

// TestRestartLeavesPinWithoutEntry checks that a restart does not move a pin of tagpin's whose
// entry in the annotation somebody has removed.
func TestRestartLeavesPinWithoutEntry(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.send(workloadOf())
	l.push = "two"
	l.change(func(template map[string]any) {
		template["metadata"].(map[string]any)["annotations"].(map[string]any)["tagpin.dev/pins"] = "{}"
	})
	l.mark(restartedAt, at(1))
	l.wantImage("restarted", "r:1", "one")
	l.mark(refresh, "a")
	l.wantImage("refreshed", "r:1", "one")
}

// TestMarkerOfAnotherTag checks that the record is about the pins that there are: when a new tag is
// resolved without the marker, the record of the old tag's marker goes, and the same marker asks
// for a refresh again. kubectl apply keeps annotations that are not in the manifest.
func TestMarkerOfAnotherTag(t *testing.T) {
	manifest := func(image, marker string) map[string]any {
		o := workloadOf(refresh, marker)
		containerOf(templateOf(o), 0)["image"] = image
		return o
	}
	for name, applied := range map[string]func(l *life, o map[string]any) map[string]any{
		"applied": func(l *life, o map[string]any) map[string]any {
			for key, value := range l.annotations() {
				if key != refresh {
					annotate(templateOf(o), key, value)
				}
			}
			return o
		},
		"replaced": func(_ *life, o map[string]any) map[string]any { return o },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t, "apps/Deployment")
			l.send(manifest("r:1", "c1"))
			first := l.template()
			l.push = "two"
			l.send(applied(l, manifest("r:2", "")))
			l.wantImage("another tag, without the marker", "r:2", "two")
			if got, ok := l.annotations()[workload.AnnotationRefreshed]; ok {
				t.Errorf("the record is %s, want none", got)
			}
			l.push = "three"
			l.send(applied(l, manifest("r:2", "c1")))
			l.wantImage("the first marker again", "r:2", "three")
			l.push = "four"
			l.undo(first)
			l.wantImage("undone to the first tag", "r:1", "one")
		})
	}
}
