// SPDX-License-Identifier: Apache-2.0

package sibling_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/sibling"
	"github.com/tagpin/tagpin/pkg/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	d1 = digest.Digest("sha256:1111111111111111111111111111111111111111111111111111111111111111")
	d2 = digest.Digest("sha256:2222222222222222222222222222222222222222222222222222222222222222")
)

// podJSON returns the JSON of a pod of a ReplicaSet. containers are pairs of a name and an image.
func podJSON(name, created, owner, hash, annotation string, containers ...string) string {
	var list []string
	for i := 0; i < len(containers); i += 2 {
		list = append(list, fmt.Sprintf(`{"name":%q,"image":%q}`, containers[i], containers[i+1]))
	}
	return fmt.Sprintf(`{"metadata":{"name":%q,"creationTimestamp":%q,`+
		`"labels":{"pod-template-hash":%q},"annotations":{"tagpin.dev/pins":%q},`+
		`"ownerReferences":[{"uid":%q,"kind":"ReplicaSet","controller":true}]},`+
		`"spec":{"containers":[%s]}}`,
		name, created, hash, annotation, owner, strings.Join(list, ","))
}

// pinnedPod returns the JSON of a pod that runs r:1 with the digest d1.
func pinnedPod(hash string) string {
	return podJSON("a", "", "u", hash, "", "app", "r:1@"+d1.String())
}

// revisionOf returns a revision of a ReplicaSet.
func revisionOf(owner, hash string) sibling.Revision {
	return sibling.Revision{Namespace: "n", Owner: owner, Label: "pod-template-hash", Value: hash}
}

func newSiblings(t *testing.T, p *fakeLister) *sibling.Siblings {
	t.Helper()
	s := &sibling.Siblings{List: p.List, Queue: sibling.Places(), Policy: &policy.Policy{}}
	t.Cleanup(s.Close)
	return s
}

// running returns the digest that the pods of a revision run for r:1, or "". The new pod will be
// stored.
func running(t *testing.T, s *sibling.Siblings, r sibling.Revision) digest.Digest {
	t.Helper()
	return s.Running(t.Context(), r, []string{"r:1"}, true).Digests["r:1"]
}

// wantRunning checks the result of Running for r:1 and a new pod that will be stored.
func wantRunning(
	t *testing.T, when string, s *sibling.Siblings, r sibling.Revision,
	want state, d digest.Digest,
) {
	t.Helper()
	checkRunning(t, when, s.Running(t.Context(), r, []string{"r:1"}, true), want, d)
}

// checkRunning checks the state of a result and its digest of r:1.
func checkRunning(
	t *testing.T, when string, got sibling.Running, want state, d digest.Digest,
) {
	t.Helper()
	if stateOf(got) != want || got.Digests["r:1"] != d {
		t.Errorf("%s: Running = %s, r:1 %q, error %v, want %s, r:1 %q",
			when, stateOf(got), got.Digests["r:1"], got.Err, want, d)
	}
}

// TestOldest checks that Running returns what the oldest pod of the revision runs.
func TestOldest(t *testing.T) {
	const young, old = "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"
	entry := `{"app":"r:1@` + d1.String() + `"}`
	for _, tt := range []struct {
		name   string
		output policy.Output
		pods   []string
		want   digest.Digest
	}{
		{name: "no pod"},
		{name: "one pod", pods: []string{podJSON("a", old, "u", "h", "", "app", "r:1@"+d1.String())}, want: d1},
		{name: "two pods", want: d1, pods: []string{
			podJSON("a", young, "u", "h", "", "app", "r:1@"+d2.String()),
			podJSON("b", old, "u", "h", "", "app", "r:1@"+d1.String()),
		}},
		{name: "two pods of the same age", want: d1, pods: []string{
			podJSON("b", old, "u", "h", "", "app", "r:1@"+d2.String()),
			podJSON("a", old, "u", "h", "", "app", "r:1@"+d1.String()),
		}},
		{name: "oldest pod is not pinned", want: d1, pods: []string{
			podJSON("a", old, "u", "h", "", "app", "r:1"),
			podJSON("b", young, "u", "h", "", "app", "r:1@"+d1.String()),
		}},
		{name: "another owner", pods: []string{podJSON("a", old, "other", "h", "", "app", "r:1@"+d1.String())}},
		{name: "another revision", pods: []string{podJSON("a", old, "u", "g", "", "app", "r:1@"+d1.String())}},
		{name: "another text", pods: []string{podJSON("a", old, "u", "h", "", "app", "r:2@"+d1.String())}},
		{name: "author's pins of the same text", want: d1, pods: []string{
			podJSON("a", old, "u", "h", entry, "first", "r:1@"+d2.String(), "app", "r:1@"+d1.String(), "last", "r:1@"+d2.String()),
		}},
		{name: "annotation without an image that has its digest", pods: []string{podJSON("a", old, "u", "h", entry, "app", "r:1")}},
		{name: "annotation with another digest", want: d2, pods: []string{
			podJSON("a", old, "u", "h", entry, "app", "r:1@"+d2.String()),
		}},
		{name: "no tag, with an annotation", output: policy.DigestOnly, want: d1, pods: []string{
			podJSON("a", old, "u", "h", entry, "app", "r@"+d1.String()),
		}},
		{name: "no tag, without an annotation", output: policy.DigestOnly, pods: []string{
			podJSON("a", old, "u", "h", "", "app", "r@"+d1.String()),
		}},
		{name: "ephemeral container, which only one pod has", pods: []string{
			strings.Replace(podJSON("a", old, "u", "h", "", "debug", "r:1@"+d1.String()),
				`"containers"`, `"ephemeralContainers"`, 1),
		}},
		{name: "algorithm that tagpin does not write", pods: []string{
			podJSON("a", old, "u", "h", "", "app", "r:1@sha512:"+strings.Repeat("1", 128)),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSiblings(t, &fakeLister{json: tt.pods})
			s.Policy.Output = tt.output
			if got := running(t, s, revisionOf("u", "h")); got != tt.want {
				t.Errorf("Running = %q, want %q", got, tt.want)
			}
		})
	}
}

// TestNoRevision checks which pods belong to no revision.
func TestNoRevision(t *testing.T) {
	owned := func(owner, hash string) *workload.Object {
		return &workload.Object{Metadata: workload.Metadata{
			Controller: workload.Owner{Kind: "ReplicaSet", UID: owner},
			Labels:     map[string]string{"pod-template-hash": hash},
		}}
	}
	for name, pod := range map[string]*workload.Object{
		"no controller": owned("", "h"),
		"no label":      owned("u", ""),
		"long owner":    owned(strings.Repeat("u", 1000), "h"),
		"long label":    owned("u", strings.Repeat("h", 1000)),
		"zero object":   {},
	} {
		if r, ok := sibling.RevisionOf("n", pod, nil); ok {
			t.Errorf("%s: RevisionOf = %v, want none", name, r)
		}
	}
}

// TestOneList checks that the pods of one revision cause one list within the TTL, even if they are
// created at the same time.
func TestOneList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeLister{json: []string{pinnedPod("h")}}
		s := newSiblings(t, p)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if got := running(t, s, revisionOf("u", "h")); got != d1 {
					t.Errorf("Running = %q, want %q", got, d1)
				}
			})
		}
		wg.Wait()
		time.Sleep(29 * time.Second)
		running(t, s, revisionOf("u", "h"))
		p.wantLists(t, "one revision", 1)
		running(t, s, revisionOf("u", "g"))
		p.wantLists(t, "another revision", 1)
		time.Sleep(2 * time.Second)
		p.set()
		if got := running(t, s, revisionOf("u", "h")); got != "" {
			t.Errorf("after the TTL: Running = %q, want none, since no pod runs", got)
		}
		p.wantLists(t, "after the TTL", 1)
	})
}

// TestRecord checks that the first recorded digest of a text counts until a list shows the pod. If
// no list does, it is forgotten after the TTL, because the pod may never have been stored.
func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeLister{}
		s := newSiblings(t, p)
		r := revisionOf("u", "h")
		if got := running(t, s, r); got != "" {
			t.Errorf("first pod: Running = %q, want none", got)
		}
		first, second := s.Record(r, "r:1", d1), s.Record(r, "r:1", d2)
		if first != d1 || second != d1 {
			t.Errorf("Record = %s, then %s, want %s twice", first, second, d1)
		}
		time.Sleep(29 * time.Second)
		if got := running(t, s, r); got != d1 {
			t.Errorf("before the TTL: Running = %q, want %s", got, d1)
		}
		p.wantLists(t, "before the TTL", 1)
		time.Sleep(2 * time.Second)
		if got := running(t, s, r); got != "" {
			t.Errorf("after the TTL, without a pod: Running = %q, want none", got)
		}
		s.Record(r, "r:1", d2)
		time.Sleep(31 * time.Second)
		p.set(pinnedPod("h"))
		if got := running(t, s, r); got != d1 {
			t.Errorf("with a pod: Running = %q, want what it runs, %s", got, d1)
		}
		if got := s.Record(r, "r:1", d2); got != d1 {
			t.Errorf("Record = %s, want what the pod runs, %s", got, d1)
		}
		p.wantLists(t, "after the TTL, twice", 2)
	})
}

// TestReplicasAgree checks that two replicas of the webhook return the same digest, even if one of
// them remembers a digest that no pod runs any more.
func TestReplicasAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeLister{json: []string{pinnedPod("h")}}
		first, second := newSiblings(t, p), newSiblings(t, p)
		running(t, first, revisionOf("u", "h"))
		p.set() // scaled to zero
		time.Sleep(31 * time.Second)
		for _, s := range []*sibling.Siblings{first, second} {
			if got := running(t, s, revisionOf("u", "h")); got != "" {
				t.Errorf("scaled to zero: Running = %q, want none", got)
			}
		}
		second.Record(revisionOf("u", "h"), "r:1", d2)
		p.set(podJSON("b", "", "u", "h", "", "app", "r:1@"+d2.String()))
		time.Sleep(31 * time.Second)
		for _, s := range []*sibling.Siblings{first, second} {
			if got := running(t, s, revisionOf("u", "h")); got != d2 {
				t.Errorf("scaled up again: Running = %q, want %s", got, d2)
			}
		}
	})
}

// TestNoneIsNotRemembered checks that the pods are listed again before a pod that will be stored
// counts as the first one, because another replica may have admitted a sibling. A pod that will not
// be stored takes what is remembered.
func TestNoneIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeLister{}
		s := newSiblings(t, p)
		wantRunning(t, "no pod", s, revisionOf("u", "h"), first, "")
		p.wantLists(t, "no pod", 1)
		p.set(pinnedPod("h"))
		time.Sleep(time.Second)
		got := s.Running(t.Context(), revisionOf("u", "h"), []string{"r:1"}, false)
		checkRunning(t, "pod that will not be stored", got, first, "")
		p.wantLists(t, "pod that will not be stored", 0)
		wantRunning(t, "pod of another replica", s, revisionOf("u", "h"), known, d1)
		wantRunning(t, "once more", s, revisionOf("u", "h"), known, d1)
		p.wantLists(t, "pod of another replica", 1)

		texts := []string{"r:1", "r:2", "r:1"}
		got = s.Running(t.Context(), revisionOf("u", "h"), texts, true)
		checkRunning(t, "another text", got, first, d1)
		p.wantLists(t, "another text", 1)
		p.err = errors.New("down")
		wantRunning(t, "known text while lists fail", s, revisionOf("u", "h"), known, d1)
		got = s.Running(t.Context(), revisionOf("u", "h"), texts, true)
		checkRunning(t, "another text while lists fail", got, unknown, d1)
	})
}
