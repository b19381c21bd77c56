// SPDX-License-Identifier: Apache-2.0

package sibling_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/sibling"
)

// TestBounds checks that at most 10,000 revisions are remembered, and at most 16 MiB of them.
func TestBounds(t *testing.T) {
	for _, tt := range []struct {
		name      string
		revisions int
		text      string
	}{
		{"revisions", 10_100, "r:1"},
		{"bytes", 1100, strings.Repeat("x", 16<<10)},
	} {
		lister := &emptyLister{}
		s := &sibling.Siblings{List: lister.List, Queue: sibling.Places(), Policy: &policy.Policy{}}
		ask := func(i int) {
			r := revisionOf(fmt.Sprint(i), "h")
			s.Running(t.Context(), r, []string{tt.text}, true)
			s.Record(r, tt.text, d1)
		}
		for i := range tt.revisions {
			ask(i)
		}
		ask(tt.revisions - 1)
		if lister.lists != tt.revisions {
			t.Errorf("%s: %d lists, want one for each revision, and the last one remembered", tt.name, lister.lists)
		}
		if ask(0); lister.lists != tt.revisions+1 {
			t.Errorf("%s: %d lists, want another one, since the first revision is forgotten", tt.name, lister.lists)
		}
		s.Close()
	}
}

// TestNamespacesShareMemory checks that many revisions of one namespace don't push out those of
// another one.
func TestNamespacesShareMemory(t *testing.T) {
	const many = 10_100
	lister := &emptyLister{}
	s := &sibling.Siblings{List: lister.List, Queue: sibling.Places(), Policy: &policy.Policy{}}
	defer s.Close()
	ask := func(namespace, owner string) {
		r := revisionOf(owner, "h")
		r.Namespace = namespace
		s.Running(t.Context(), r, []string{"r:1"}, false)
	}
	ask("quiet", "u")
	for i := range many {
		ask("loud", fmt.Sprint(i))
	}
	if ask("quiet", "u"); lister.lists != many+1 {
		t.Errorf("%d lists, want %d, since the quiet namespace's revision is remembered", lister.lists, many+1)
	}
}

// emptyLister lists no pods.
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
		s.Record(revisionOf("u", "h"), texts[i], d1)
	}
	got := s.Running(t.Context(), revisionOf("u", "h"), texts, true)
	if len(got.Digests) != maxTexts {
		t.Errorf("%d texts are remembered, want %d", len(got.Digests), maxTexts)
	}
}
