// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"testing"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// unrecorded returns an object that is stored with a pin of "one" that tagpin has not recorded: it
// was written into the manifest. The tag points to "two" now, and the manifest has it again.
func unrecorded(t *testing.T, kind string, mode policy.Mode) *life {
	l := newLife(t, kind)
	l.stored = workloadOf()
	containerOf(templateOf(l.stored), 0)["image"] = "r:1@" + l.digest().String()
	l.handler.Mode, l.push = mode, "two"
	return l
}

// wantSame checks that the stored template is what it was before.
func (l *life) wantSame(when, before string) {
	l.t.Helper()
	if got := string(l.encode(l.template())); got != before {
		l.t.Errorf("%s: template =\n%s, want\n%s", when, got, before)
	}
}

// wantRecorded checks whether the stored template records a pin.
func (l *life) wantRecorded(when string, want bool) {
	l.t.Helper()
	if got := l.annotations()[workload.AnnotationPins]; (got != "") != want {
		l.t.Errorf("%s: the recorded pins are %q, want some: %t", when, got, want)
	}
}

// TestUnrecordedPinAppliedAgain checks that a pin that tagpin has not recorded is put back alone:
// an entry would change the template, and roll it out.
func TestUnrecordedPinAppliedAgain(t *testing.T) {
	for _, kind := range []string{"apps/Deployment", "apps/StatefulSet", "batch/Job"} {
		for mode := range allowedIn {
			t.Run(kind+" "+mode.String(), func(t *testing.T) {
				l := unrecorded(t, kind, mode)
				before := string(l.encode(l.template()))
				for _, when := range []string{"applied", "applied again"} {
					l.send(workloadOf())
					l.wantSame(when, before)
				}
				if l.asked != 0 || len(l.last.Warnings) > 0 {
					t.Errorf("%d lookups, warnings %q, want none", l.asked, l.last.Warnings)
				}
			})
		}
	}
}

// TestUnrecordedPinBesideRecorded checks that the record of another container's pin is put back as
// it was, although the manifest does not have it.
func TestUnrecordedPinBesideRecorded(t *testing.T) {
	for mode := range allowedIn {
		manifest := func(image string) map[string]any {
			o := workloadOf()
			spec := specOf(templateOf(o))
			second := map[string]any{"name": "b", "image": image}
			spec["containers"] = append(spec["containers"].([]any), second)
			return o
		}
		l := newLife(t, "apps/Deployment")
		l.send(manifest("x:1@" + digestOf("author").String()))
		before := string(l.encode(l.template()))
		l.handler.Mode = mode
		l.send(manifest("x:1"))
		l.wantSame(mode.String(), before)
	}
}

// TestUnrecordedPinInChangedTemplate checks that a template that changes anyway gets the entry in
// the mode enforce alone, and what the entry is for: a restart resolves the pin again, and an undo
// brings back the template without the entry.
func TestUnrecordedPinInChangedTemplate(t *testing.T) {
	edited := func() map[string]any {
		o := workloadOf()
		containerOf(templateOf(o), 0)["env"] = []any{map[string]any{"name": "A", "value": "b"}}
		return o
	}
	for mode := range allowedIn {
		l := unrecorded(t, "apps/Deployment", mode)
		l.send(edited())
		l.wantImage(mode.String(), "r:1", "one")
		l.wantRecorded(mode.String(), mode == policy.Enforce)
	}
	l := unrecorded(t, "apps/Deployment", policy.Enforce)
	first := l.template()
	l.send(workloadOf())
	l.send(edited())
	second := string(l.encode(l.template()))
	l.send(edited())
	l.wantSame("applied again", second)
	l.mark(restartedAt, at(1))
	l.wantImage("restarted", "r:1", "two")
	l.push = "three"
	for range 2 {
		l.undo(first)
		l.wantSame("undone", string(l.encode(first)))
		l.send(workloadOf())
		l.wantSame("undone, and applied again", string(l.encode(first)))
	}
}

// TestUnrecordedPinOfAddedContainer checks that the entry is added with that of a new container.
func TestUnrecordedPinOfAddedContainer(t *testing.T) {
	for _, text := range []string{"r:1", "x:1"} {
		l := unrecorded(t, "apps/Deployment", policy.Enforce)
		o := workloadOf()
		spec := specOf(templateOf(o))
		added := map[string]any{"name": "b", "image": text}
		spec["containers"] = append(spec["containers"].([]any), added)
		l.send(o)
		l.wantImage("with another container", "r:1", "one")
		l.push = "three"
		l.mark(restartedAt, at(1))
		l.wantImage("restarted", "r:1", "three")
	}
}

// TestUnrecordedPinIsAuthors checks that a restart keeps a pin that was put back without an entry,
// as any digest that an author wrote, and that a refresh of the manifest with the tag resolves it.
func TestUnrecordedPinIsAuthors(t *testing.T) {
	l := unrecorded(t, "apps/Deployment", policy.Enforce)
	l.send(workloadOf())
	l.mark(restartedAt, at(1))
	l.wantImage("restarted", "r:1", "one")
	l.wantRecorded("restarted", false)
	first := l.template()
	l.send(workloadOf(refresh, "c1"))
	l.wantImage("refreshed", "r:1", "two")
	l.wantRecorded("refreshed", true)
	refreshed := string(l.encode(l.template()))
	l.send(workloadOf(refresh, "c1"))
	l.wantSame("applied again", refreshed)
	l.undo(first)
	l.wantSame("undone", string(l.encode(first)))
	l.push = "three"
	l.mark(refresh, "c2")
	l.wantImage("refreshed without the manifest", "r:1", "one")
}
