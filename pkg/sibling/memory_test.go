// SPDX-License-Identifier: Apache-2.0

package sibling_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/sibling"
)

// TestBounds checks that the number and the size of the remembered revisions have a maximum.
func TestBounds(t *testing.T) {
	for name, s := range map[string]*sibling.Siblings{"revisions": {Size: 10}, "bytes": {Bytes: 4000}} {
		p := &fakeLister{}
		s.Lister, s.Policy = p, &policy.Policy{}
		for i := range 100 {
			r := revisionOf(fmt.Sprint(i), "h")
			running(t, s, r)
			s.Decide(r, "r:1", d1)
		}
		p.wantLists(t, name, 100)
		running(t, s, revisionOf("0", "h"))
		p.wantLists(t, name+": first revision again", 1)
		running(t, s, revisionOf("99", "h"))
		p.wantLists(t, name+": last revision again", 0)
		s.Close()
	}
}

// TestNamespacesShareMemory checks that many revisions of one namespace don't push out those of
// another one.
func TestNamespacesShareMemory(t *testing.T) {
	p := emptyLister{}
	s := &sibling.Siblings{Lister: &p, Policy: &policy.Policy{}, Size: 10}
	defer s.Close()
	ask := func(namespace, owner string) {
		r := revisionOf(owner, "h")
		r.Namespace = namespace
		got := s.Running(t.Context(), r, []string{"r:1"}, false)
		checkRunning(t, namespace, got, first, "")
	}
	ask("quiet", "u")
	for i := range 100 {
		ask("loud", fmt.Sprint(i))
	}
	if ask("quiet", "u"); p.lists != 101 {
		t.Errorf("%d lists, want 101, since the quiet namespace's revision is remembered", p.lists)
	}
}

// emptyLister is a Lister without pods.
type emptyLister struct{ lists int }

func (l *emptyLister) List(
	context.Context, sibling.Revision, string, func([]byte) error,
) (string, error) {
	l.lists++
	return "", nil
}

// TestMaxTexts checks that at most 128 texts of one revision are remembered.
func TestMaxTexts(t *testing.T) {
	const maxTexts = 128
	p := &fakeLister{}
	s := newSiblings(t, p)
	running(t, s, revisionOf("u", "h"))
	var texts []string
	for i := range 10 * maxTexts {
		texts = append(texts, fmt.Sprint("r:", i))
		s.Decide(revisionOf("u", "h"), texts[i], d1)
	}
	got := s.Running(t.Context(), revisionOf("u", "h"), texts, true)
	if len(got.Digests) != maxTexts {
		t.Errorf("%d texts are remembered, want %d", len(got.Digests), maxTexts)
	}
}
