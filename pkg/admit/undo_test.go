// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"testing"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// TestRestartAndUndo checks that each revision of a workload runs its own digest through restarts,
// undo, and undo of the undo.
func TestRestartAndUndo(t *testing.T) {
	for _, kind := range []string{"apps/Deployment", "apps/StatefulSet", "apps/DaemonSet"} {
		for _, marker := range []string{restartedAt, refresh} {
			t.Run(kind+" "+marker, func(t *testing.T) {
				l := newLife(t, kind)
				l.send(workloadOf())
				l.wantImage("created", "r:1", "one")
				first := l.template()
				l.push = "two"
				l.mark(marker, "a")
				l.wantImage("refreshed", "r:1", "two")
				second := l.template()
				l.push = "three"
				l.mark(marker, "b")
				l.wantImage("refreshed again", "r:1", "three")
				third := l.template()
				asked := l.asked
				for i, revision := range []map[string]any{second, third, first, second, first, third} {
					l.undo(revision)
					if got, want := string(l.encode(l.template())), string(l.encode(revision)); got != want {
						t.Errorf("undo %d: the template is\n%s, want\n%s", i, got, want)
					}
				}
				if l.asked != asked {
					t.Errorf("undo with %d lookups, want none", l.asked-asked)
				}
				l.push = "four"
				l.mark(marker, "c")
				l.wantImage("refreshed after undo", "r:1", "four")
			})
		}
	}
}

// TestUndoToRestartOfOtherModes checks that an undo runs the revision's own digest even if the
// restart has no record, because it was made in a mode that makes no pins. The undo brings the pin
// with it, and a refresh moves only pins that were there before.
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

// TestUndoToIgnoredRestart is the same for a restart from a time when restarts were ignored.
func TestUndoToIgnoredRestart(t *testing.T) {
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

// TestUndoToOlderRestart checks that an undo to a restart that was made in another mode runs the
// revision's own digest, even if that is the current one: the restart has no record, but is older
// than the live one.
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
			t.Errorf("%s: undo with %d lookups, want none", mode, l.asked-asked)
		}
		l.mark(restartedAt, at(3))
		l.wantImage("restarted then", "r:1", "two")
	}
}

// TestUndoOfTemplateAlone checks an undo of a kind whose record is in the object's own metadata.
// The undo brings back the template alone, and the record is then about other pins. When the
// manifest that was undone is applied again, its image is resolved.
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
		o["metadata"] = l.decode(l.encode(l.stored["metadata"])) // kubectl apply keeps annotations that are not in the manifest
		return o
	}
	l.send(applied("c2"))
	l.wantImage("the manifest again", "r:1", "three")
	l.push = "four"
	l.send(applied("c2"))
	l.wantImage("and again", "r:1", "three")
}

// TestUndoToUnrecordedRevision checks that an undo to a revision whose restart has no record runs
// the digest that the workload has, without a lookup. tools restart it with an annotation of the
// config, and write times in formats of their own.
func TestUndoToUnrecordedRevision(t *testing.T) {
	const name = "keel.sh/update-time"
	for tool, at := range map[string][3]string{
		"Keel": {
			"2026-11-29 06:22:20.1 +0000 UTC m=+5.0", "2026-11-29 06:22:21.2 +0000 UTC m=+6.1",
			"2026-11-29 06:22:22 +0000 UTC m=+0.1",
		},
		"date +%s": {"1796019740", "1796019741", "1796019742"},
	} {
		for revision, test := range map[string]func(l *life){
			"from before tagpin": func(l *life) {
				l.stored = workloadOf(name, at[0])
				l.handler.Table = &workload.Table{RefreshAnnotations: []string{name}}
			},
			"from before the name was configured": func(l *life) {
				l.send(workloadOf(name, at[0]))
				l.handler.Table = &workload.Table{RefreshAnnotations: []string{name}}
			},
		} {
			t.Run(tool+", "+revision, func(t *testing.T) {
				l := newLife(t, "apps/Deployment")
				test(l)
				former := l.template()
				l.mark(name, at[1])
				l.wantImage("restarted", "r:1", "one")
				l.push = "two"
				asked := l.asked
				l.undo(former)
				l.wantImage("undone", "r:1", "one")
				if l.asked != asked {
					t.Errorf("undo with %d lookups, want none", l.asked-asked)
				}
				l.mark(name, at[2])
				l.wantImage("restarted then", "r:1", "two")
			})
		}
	}
}
