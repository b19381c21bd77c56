// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"

	"github.com/tagpin/tagpin/e2e/clustertest"
)

// TestReplacedAfterTagMoved has workloads that are older than tagpin. Their templates have a tag,
// so only their pods are pinned. After the tag has moved, also when tagpin has restarted, a pod
// that is replaced runs the digest of its siblings.
func TestReplacedAfterTagMoved(t *testing.T) { // not parallel, because it restarts tagpin
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
			for _, again := range []string{"replaced", "replaced after a restart of tagpin"} {
				asked, before := s.lookups(), s.lists(foundSome)
				s.kubectl("", "delete", "pod", s.pods()[0].Name)
				s.rolledOut(kind + "/web")
				s.wantPods(again, nodes, reference+"@"+digest)
				if got := s.lookups() - asked; got != 0 {
					t.Errorf("%s: %d lookups, want none", again, got)
				}
				if got := s.lists(foundSome) - before; got > 1 {
					t.Errorf("%s: %v lists have found siblings, want at most one", again, got)
				}
				s.restartTagpin()
			}
			if got := s.template(kind); got != reference {
				t.Errorf("the template's image = %s, want the old one, %s", got, reference)
			}
			s.apply(manifest(kind, reference, nodes))
			if got := s.template(kind); got != reference {
				t.Errorf("the template's image after another apply = %s, want the old one, %s", got, reference)
			}
		})
	}
}

// foundSome selects the lists that have found siblings with pins. A list that fails, as on a busy
// machine, denies the pod, and the next attempt of its controller makes another one. A list that
// finds none may be for such an attempt of an earlier test, whose objects stay.
const foundSome = `result="found"`

// lists returns how often tagpin has listed siblings.
func (s *space) lists(labels ...string) float64 {
	s.t.Helper()
	return s.metric("tagpin_sibling_lists_total", labels...)
}

func (s *space) metric(name string, labels ...string) float64 {
	s.t.Helper()
	return clustertest.Metric(s.t, env.Tagpin, name, labels...)
}

// restartTagpin kills tagpin and starts it again, so that its caches are empty.
func (s *space) restartTagpin() {
	s.t.Helper()
	if err := env.Tagpin.Kill(); err != nil {
		s.t.Fatal(err)
	}
	if err := env.Tagpin.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// template returns the image in a workload's template.
func (s *space) template(kind string) string {
	s.t.Helper()
	return s.kubectl("", "get", kind+"/web", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
}

// TestSetsAcrossMovedTag moves the tag of a pinned StatefulSet and a pinned DaemonSet. Rollouts and
// rollbacks run the digest of each revision, and a pod that is replaced runs the digest of its
// revision.
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
				t.Errorf("%d lookups for undos, want none", got)
			}
		})
	}
}
