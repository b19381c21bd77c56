// SPDX-License-Identifier: Apache-2.0

package sibling_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/sibling"
	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	d1 = digest.Digest("sha256:1111111111111111111111111111111111111111111111111111111111111111")
	d2 = digest.Digest("sha256:2222222222222222222222222222222222222222222222222222222222222222")
)

// podJSON is a pod as the API server tells it, in pairs of container and image.
func podJSON(name, created, owner, hash, annotation string, containers ...string) string {
	var list []string
	for i := 0; i < len(containers); i += 2 {
		list = append(list, fmt.Sprintf(`{"name":%q,"image":%q}`, containers[i], containers[i+1]))
	}
	return fmt.Sprintf(`{"metadata":{"name":%q,"creationTimestamp":%q,"labels":{"pod-template-hash":%q},"annotations":{"tagpin.dev/pins":%q},`+
		`"ownerReferences":[{"uid":%q,"kind":"ReplicaSet","controller":true}]},"spec":{"containers":[%s]}}`,
		name, created, hash, annotation, owner, strings.Join(list, ","))
}

// pods is a Lister of pods that are there.
type pods struct {
	mu    sync.Mutex
	json  []string
	err   error
	hang  bool
	lists int
}

func (p *pods) List(ctx context.Context, namespace, label, value string, pod func([]byte) error) error {
	p.mu.Lock()
	p.lists++
	list, err, hang := p.json, p.err, p.hang
	p.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if namespace != "n" || label != "pod-template-hash" || value == "" {
		return fmt.Errorf("asked for %s, %s=%s", namespace, label, value)
	}
	for _, j := range list {
		if err := pod([]byte(j)); err != nil {
			return err
		}
	}
	return err
}

func (p *pods) set(json ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.json = json
}

// wantLists compares the number of lists since the last time.
func (p *pods) wantLists(t *testing.T, when string, want int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lists != want {
		t.Errorf("%s: %d lists, want %d", when, p.lists, want)
	}
	p.lists = 0
}

// newPod is a pod to be created.
func newPod(owner, hash string) *workload.Object {
	return &workload.Object{Kind: workload.Kind{Kind: "Pod"}, Metadata: workload.Metadata{
		Controller: workload.Owner{Kind: "ReplicaSet", UID: owner}, Labels: map[string]string{"pod-template-hash": hash},
	}}
}

func newSiblings(t *testing.T, p *pods) *sibling.Siblings {
	t.Helper()
	s := &sibling.Siblings{Lister: p, Policy: &policy.Policy{}}
	t.Cleanup(s.Close)
	return s
}

// running asks for r:1.
func running(t *testing.T, s *sibling.Siblings, pod *workload.Object) digest.Digest {
	t.Helper()
	got, _ := s.Running(t.Context(), "n", pod, []string{"r:1"})
	return got["r:1"]
}

// known tells whether all that siblings run is known.
func known(t *testing.T, s *sibling.Siblings, pod *workload.Object) bool {
	t.Helper()
	_, all := s.Running(t.Context(), "n", pod, []string{"r:1"})
	return all
}

// What the oldest pod of the revision runs counts, and of no other revision or owner.
func TestOldest(t *testing.T) {
	const young, old = "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"
	entry := `{"app":"r:1@` + d1.String() + `"}`
	for _, tt := range []struct {
		name   string
		output policy.Output
		pods   []string
		want   digest.Digest
	}{
		{name: "none"},
		{name: "one", pods: []string{podJSON("a", old, "u", "h", "", "app", "r:1@"+d1.String())}, want: d1},
		{name: "the older", want: d1, pods: []string{
			podJSON("a", young, "u", "h", "", "app", "r:1@"+d2.String()),
			podJSON("b", old, "u", "h", "", "app", "r:1@"+d1.String()),
		}},
		{name: "of one age, the first by name", want: d1, pods: []string{
			podJSON("b", old, "u", "h", "", "app", "r:1@"+d2.String()),
			podJSON("a", old, "u", "h", "", "app", "r:1@"+d1.String()),
		}},
		{name: "the oldest that is pinned", want: d1, pods: []string{
			podJSON("a", old, "u", "h", "", "app", "r:1"),
			podJSON("b", young, "u", "h", "", "app", "r:1@"+d1.String()),
		}},
		{name: "another owner's", pods: []string{podJSON("a", old, "other", "h", "", "app", "r:1@"+d1.String())}},
		{name: "another revision's", pods: []string{podJSON("a", old, "u", "g", "", "app", "r:1@"+d1.String())}},
		{name: "another text", pods: []string{podJSON("a", old, "u", "h", "", "app", "r:2@"+d1.String())}},
		{name: "an author's of the same text too", want: d1, pods: []string{
			podJSON("a", old, "u", "h", entry, "first", "r:1@"+d2.String(), "app", "r:1@"+d1.String(), "last", "r:1@"+d2.String()),
		}},
		{name: "an annotation without its image", pods: []string{podJSON("a", old, "u", "h", entry, "app", "r:1")}},
		{name: "an annotation of another digest", want: d2, pods: []string{
			podJSON("a", old, "u", "h", entry, "app", "r:1@"+d2.String()),
		}},
		{name: "tags dropped, by the annotation", output: policy.DigestOnly, want: d1, pods: []string{
			podJSON("a", old, "u", "h", entry, "app", "r@"+d1.String()),
		}},
		{name: "tags dropped, not guessed", output: policy.DigestOnly, pods: []string{
			podJSON("a", old, "u", "h", "", "app", "r@"+d1.String()),
		}},
		{name: "another algorithm, which tagpin does not write", pods: []string{
			podJSON("a", old, "u", "h", "", "app", "r:1@sha512:"+strings.Repeat("1", 128)),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSiblings(t, &pods{json: tt.pods})
			s.Policy.Output = tt.output
			if got := running(t, s, newPod("u", "h")); got != tt.want {
				t.Errorf("Running = %q, want %q", got, tt.want)
			}
		})
	}
}

// A pod that is of no revision costs no list.
func TestNoRevision(t *testing.T) {
	p := &pods{}
	s := newSiblings(t, p)
	for name, pod := range map[string]*workload.Object{
		"no controller":  newPod("", "h"),
		"no label":       newPod("u", ""),
		"a long owner":   newPod(strings.Repeat("u", 1000), "h"),
		"a long label":   newPod("u", strings.Repeat("h", 1000)),
		"nothing at all": {},
	} {
		if got := running(t, s, pod); got != "" {
			t.Errorf("%s: Running = %q, want none", name, got)
		}
		if got := s.Decide("n", pod, "r:1", d1); got != d1 {
			t.Errorf("%s: Decide = %s, want it as it was", name, got)
		}
	}
	p.wantLists(t, "pods without a revision", 0)
}

// The pods of one revision cost one list, also when they come at once.
func TestOneList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pods{json: []string{podJSON("a", "", "u", "h", "", "app", "r:1@"+d1.String())}}
		s := newSiblings(t, p)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if got := running(t, s, newPod("u", "h")); got != d1 {
					t.Errorf("Running = %q, want %q", got, d1)
				}
			})
		}
		wg.Wait()
		time.Sleep(29 * time.Second)
		running(t, s, newPod("u", "h"))
		p.wantLists(t, "one revision", 1)
		running(t, s, newPod("u", "g"))
		p.wantLists(t, "another", 1)
		time.Sleep(2 * time.Second)
		p.set()
		if got := running(t, s, newPod("u", "h")); got != "" {
			t.Errorf("after the TTL: %q, want what runs now: none", got)
		}
		p.wantLists(t, "after the TTL", 1)
	})
}

// A decision of our own holds until lists show it, and no longer than the TTL if they don't: its pod may never have been
// stored. The first one counts.
func TestOwnDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pods{}
		s := newSiblings(t, p)
		pod := newPod("u", "h")
		if got := running(t, s, pod); got != "" {
			t.Errorf("the first pod: %q, want none", got)
		}
		if first, second := s.Decide("n", pod, "r:1", d1), s.Decide("n", pod, "r:1", d2); first != d1 || second != d1 {
			t.Errorf("Decide = %s, then %s, want %s twice", first, second, d1)
		}
		time.Sleep(29 * time.Second)
		if got := running(t, s, pod); got != d1 {
			t.Errorf("soon: %q, want %s", got, d1)
		}
		p.wantLists(t, "soon", 1)
		time.Sleep(2 * time.Second)
		if got := running(t, s, pod); got != "" {
			t.Errorf("after the TTL, with no pod: %q, want none", got)
		}
		s.Decide("n", pod, "r:1", d2)
		time.Sleep(31 * time.Second)
		p.set(podJSON("a", "", "u", "h", "", "app", "r:1@"+d1.String()))
		if got := running(t, s, pod); got != d1 {
			t.Errorf("with a pod: %q, want what it runs, %s", got, d1)
		}
		if got := s.Decide("n", pod, "r:1", d2); got != d1 {
			t.Errorf("Decide = %s, want what runs, %s", got, d1)
		}
		p.wantLists(t, "after the TTL, twice", 2)
	})
}

// Two replicas see one revision: what one of them has seen before is no more than what runs.
func TestReplicasAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pods{json: []string{podJSON("a", "", "u", "h", "", "app", "r:1@"+d1.String())}}
		one, other := newSiblings(t, p), newSiblings(t, p)
		running(t, one, newPod("u", "h"))
		p.set() // scaled to nothing
		time.Sleep(31 * time.Second)
		for _, s := range []*sibling.Siblings{one, other} {
			if got := running(t, s, newPod("u", "h")); got != "" {
				t.Errorf("with no pod left: %q, want none", got)
			}
		}
		other.Decide("n", newPod("u", "h"), "r:1", d2)
		p.set(podJSON("b", "", "u", "h", "", "app", "r:1@"+d2.String()))
		time.Sleep(31 * time.Second)
		for _, s := range []*sibling.Siblings{one, other} {
			if got := running(t, s, newPod("u", "h")); got != d2 {
				t.Errorf("scaled up again: %q, want %s", got, d2)
			}
		}
	})
}

// A list that fails takes nothing back of what was known; and it is not known whether that is all.
func TestKnownBeforeListFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pods{json: []string{podJSON("a", "", "u", "h", "", "app", "r:1@"+d1.String())}}
		s := newSiblings(t, p)
		if !known(t, s, newPod("u", "h")) || known(t, s, newPod("", "h")) {
			t.Error("all is known of a revision that was listed, and nothing of a pod without one")
		}
		p.err = errors.New("down")
		for range 3 {
			time.Sleep(time.Hour)
			if got := running(t, s, newPod("u", "h")); got != d1 || known(t, s, newPod("u", "h")) {
				t.Errorf("while lists fail: %q, all known: %t, want %s, and not all", got, known(t, s, newPod("u", "h")), d1)
			}
		}
	})
}

// Where the API server gives no answer nothing is known, for a second.
func TestListFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pods{err: errors.New("down"), json: []string{podJSON("a", "", "u", "h", "", "app", "r:1@"+d1.String())}}
		s := newSiblings(t, p)
		for range 3 {
			if got := running(t, s, newPod("u", "h")); got != "" {
				t.Errorf("half a list: %q, want none", got)
			}
		}
		p.wantLists(t, "failing", 1)
		p.err = nil
		time.Sleep(2 * time.Second)
		if got := running(t, s, newPod("u", "h")); got != d1 {
			t.Errorf("again: %q, want %s", got, d1)
		}
	})
}

// A list that hangs ends by itself; who waits no longer than its context is not held up.
func TestListHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSiblings(t, &pods{hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		s.Running(ctx, "n", newPod("u", "h"), []string{"r:1"})
		if took := time.Since(start); took != time.Second {
			t.Errorf("waited %v, want the context's second", took)
		}
		s.Running(t.Context(), "n", newPod("u", "h"), []string{"r:1"})
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("waited %v, want the list's two seconds", took)
		}
	})
}

// What is remembered is bounded by revisions, and by bytes: texts are a tenant's.
func TestBounds(t *testing.T) {
	for name, s := range map[string]*sibling.Siblings{"revisions": {Size: 10}, "bytes": {Bytes: 4000}} {
		p := &pods{}
		s.Lister, s.Policy = p, &policy.Policy{}
		for i := range 100 {
			pod := newPod(fmt.Sprint(i), "h")
			running(t, s, pod)
			s.Decide("n", pod, "r:1", d1)
		}
		p.wantLists(t, name, 100)
		running(t, s, newPod("0", "h"))
		p.wantLists(t, name+": the first again", 1)
		running(t, s, newPod("99", "h"))
		p.wantLists(t, name+": the last again", 0)
		s.Close()
	}
}

// Of one revision so many texts are remembered: a tenant's pods may have any number.
func TestTexts(t *testing.T) {
	const most = 128
	p := &pods{}
	s := newSiblings(t, p)
	running(t, s, newPod("u", "h"))
	var texts []string
	for i := range 10 * most {
		texts = append(texts, fmt.Sprint("r:", i))
		s.Decide("n", newPod("u", "h"), texts[i], d1)
	}
	if got, _ := s.Running(t.Context(), "n", newPod("u", "h"), texts); len(got) != most {
		t.Errorf("%d texts are remembered, want %d", len(got), most)
	}
}

// After Close nothing is listed.
func TestClosed(t *testing.T) {
	p := &pods{}
	s := newSiblings(t, p)
	s.Close()
	if got := running(t, s, newPod("u", "h")); got != "" {
		t.Errorf("Running = %q, want none", got)
	}
	p.wantLists(t, "closed", 0)
}
