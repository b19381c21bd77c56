// SPDX-License-Identifier: Apache-2.0

package controllers

import "testing"

// TestReplacedAfterTagMoved has workloads from before tagpin, whose templates hold a tag, so that their pods alone are
// pinned. The tag moves, tagpin is started anew, a pod is replaced: it runs what its siblings run.
func TestReplacedAfterTagMoved(t *testing.T) { // not parallel: tagpin is away for a moment
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet"} {
		t.Run(kind, func(t *testing.T) {
			s := newSpace(t, "")
			reference, digest := s.push("1")
			s.apply(manifest(kind, reference, nodes))
			s.rolledOut(kind + "/web")
			s.enforce()
			s.kubectl("", "delete", "pods", "--all")
			s.rolledOut(kind + "/web")
			s.wantPods("made", nodes, reference+"@"+digest)
			s.push("1")
			for _, again := range []string{"replaced", "replaced after tagpin began anew"} {
				asked, before := s.lookups(), s.lists()
				s.kubectl("", "delete", "pod", s.pods()[0].Name)
				s.rolledOut(kind + "/web")
				s.wantPods(again, nodes, reference+"@"+digest)
				if got := s.lookups() - asked; got != 0 {
					t.Errorf("%s: %d look-ups, want none", again, got)
				}
				if got := s.lists() - before; got > 1 {
					t.Errorf("%s: %v lists of siblings, want one at most", again, got)
				}
				s.restartTagpin()
			}
			if got := s.template(kind); got != reference {
				t.Errorf("the template's image = %s, want it as it was, %s", got, reference)
			}
			s.apply(manifest(kind, reference, nodes))
			if got := s.template(kind); got != reference {
				t.Errorf("applied again, the template's image = %s, want it as it was, %s", got, reference)
			}
		})
	}
}

// lists is how often tagpin has listed siblings.
func (s *space) lists() float64 { return s.metric("tagpin_sibling_lists_total") }

func (s *space) metric(name string) float64 {
	s.t.Helper()
	n, err := env.Tagpin.Metric(s.t.Context(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// restartTagpin kills tagpin, so that it forgets, and starts it again.
func (s *space) restartTagpin() {
	s.t.Helper()
	if err := env.Tagpin.Kill(); err != nil {
		s.t.Fatal(err)
	}
	if err := env.Tagpin.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// template is the image of a workload's template.
func (s *space) template(kind string) string {
	s.t.Helper()
	return s.kubectl("", "get", kind+"/web", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
}

// TestSetsAcrossMovedTag has a StatefulSet and a DaemonSet that were pinned: rolled on and back they run each revision's own
// digest, and a pod that is replaced its revision's.
func TestSetsAcrossMovedTag(t *testing.T) {
	for _, kind := range []string{"StatefulSet", "DaemonSet"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSpace(t, "enforce")
			reference, first := s.push("1")
			s.apply(manifest(kind, reference, nodes))
			s.rolledOut(kind + "/web")
			s.wantPods("made", nodes, reference+"@"+first)
			_, second := s.push("1")
			s.kubectl("", "delete", "pod", s.pods()[0].Name)
			s.rolledOut(kind + "/web")
			s.wantPods("one replaced", nodes, reference+"@"+first)
			s.restart(kind + "/web")
			s.rolledOut(kind + "/web")
			s.wantPods("restarted", nodes, reference+"@"+second)
			s.push("1")
			asked := s.lookups()
			s.kubectl("", "rollout", "undo", kind+"/web")
			s.rolledOut(kind + "/web")
			s.wantPods("undone", nodes, reference+"@"+first)
			s.kubectl("", "rollout", "undo", kind+"/web")
			s.rolledOut(kind + "/web")
			s.wantPods("and again", nodes, reference+"@"+second)
			if got := s.lookups() - asked; got != 0 {
				t.Errorf("undone with %d look-ups, want none", got)
			}
		})
	}
}
