// SPDX-License-Identifier: Apache-2.0

package sibling_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/sibling"
	"github.com/tagpin/tagpin/pkg/workload"
)

// podOf returns a new pod of the revision h of a ReplicaSet, with a container for each image.
func podOf(images ...string) *workload.Object {
	var spec workload.PodSpec
	for _, image := range images {
		spec.References = append(spec.References, workload.Reference{Name: image, Text: image})
	}
	return &workload.Object{
		Kind: workload.Kind{Kind: "Pod"},
		Metadata: workload.Metadata{
			Controller: workload.Owner{APIVersion: "apps/v1", Kind: "ReplicaSet", UID: "u"},
			Labels:     map[string]string{"pod-template-hash": "h"},
		},
		PodSpecs: []workload.PodSpec{spec},
	}
}

// request returns a request that creates an object in the mode enforce.
func request(o *workload.Object) pin.Request {
	return pin.Request{Namespace: "n", Input: policy.Input{Operation: policy.Create, Object: o}}
}

// registry is a Resolver that has the same answer for every image.
type registry struct {
	mu     sync.Mutex
	digest digest.Digest
	err    error
	asked  []resolve.Request
	ask    func() // if not nil, it is called for each request
}

func (r *registry) Resolve(_ context.Context, req resolve.Request) (resolve.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, req)
	if r.ask != nil {
		r.ask()
	}
	return resolve.Result{Digest: r.digest}, r.err
}

// TestLayer checks that only a new pod of a controller takes the digest that its siblings run, and
// that a digest that was resolved for it is recorded only if the pod will be stored.
func TestLayer(t *testing.T) {
	const running, resolved = d1, d2
	for _, tt := range []struct {
		name     string
		change   func(*pin.Request)
		lists    int
		recorded bool          // the digest of r:2
		want     digest.Digest // of r:1, which a sibling runs
	}{
		{name: "pod of a controller", change: func(*pin.Request) {}, lists: 1, recorded: true, want: running},
		{name: "dry run of the API server", change: func(r *pin.Request) { r.DryRun = true }, lists: 1, want: running},
		{name: "mode dry-run", change: func(r *pin.Request) { r.Mode = policy.Propose }, lists: 1, want: running},
		{name: "mode keep", change: func(r *pin.Request) { r.Mode = policy.Keep }},
		{name: "pod without a controller", change: func(r *pin.Request) { r.Object.Metadata.Controller = workload.Owner{} }, want: resolved},
		{name: "update", change: func(r *pin.Request) { r.Operation = policy.Update }, want: resolved},
		{name: "workload", want: resolved, change: func(r *pin.Request) {
			r.Object.Kind = workload.Kind{Group: "batch", Kind: "Job"}
			r.Object.Metadata.Controller = workload.Owner{APIVersion: "batch/v1", Kind: "CronJob", UID: "u"}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lister := &fakeLister{json: []string{pinnedPod("h")}}
			s := newSiblings(t, lister)
			next := &registry{digest: resolved}
			req := request(podOf("r:1", "r:2"))
			tt.change(&req)
			p := &pin.Pinner{Resolver: next, Layer: s.Layer}
			outcomes := p.Pin(t.Context(), req).Outcomes
			if got := outcomes[0].Pin.Digest(); got != tt.want {
				t.Errorf("r:1, which a sibling runs, is pinned to %q, want %q", got, tt.want)
			}
			if got := outcomes[1].Pin.Digest(); tt.want != "" && got != resolved {
				t.Errorf("r:2 is pinned to %q, want %s", got, resolved)
			}
			if tt.want == running && (len(next.asked) != 1 || !outcomes[0].Sibling) {
				t.Errorf("%d lookups, from a sibling: %t, want 1 lookup, true",
					len(next.asked), outcomes[0].Sibling)
			}
			lister.wantLists(t, "one pod", tt.lists)
			known := s.Running(t.Context(), revisionOf("u", "h"), []string{"r:2"}, false).Digests
			if _, ok := known["r:2"]; ok != tt.recorded {
				t.Errorf("recorded %v, want the digest of r:2: %t", known, tt.recorded)
			}
		})
	}
}

// TestSiblingWasFaster checks that a pod takes the digest that another pod of its revision recorded
// while the lookup was under way.
func TestSiblingWasFaster(t *testing.T) {
	s := newSiblings(t, &fakeLister{})
	p := &pin.Pinner{
		Layer: s.Layer,
		Resolver: resolve.Func(func(context.Context, resolve.Request) (resolve.Result, error) {
			s.Record(revisionOf("u", "h"), "r:1", d1)
			return resolve.Result{Digest: d2}, nil
		}),
	}
	got := p.Pin(t.Context(), request(podOf("r:1"))).Outcomes[0]
	if got.Pin.Digest() != d1 || got.NewEntry.Digest() != d1 {
		t.Errorf("pinned to %s, entry %s, want the recorded digest %s", got.Pin, got.NewEntry, d1)
	}
}

// TestTwoSpellings checks that a digest is recorded for each spelling of an image.
func TestTwoSpellings(t *testing.T) {
	s := newSiblings(t, &fakeLister{})
	p := &pin.Pinner{Layer: s.Layer, Resolver: &registry{digest: d1}}
	p.Pin(t.Context(), request(podOf("r:1", "docker.io/library/r:1")))
	next := &registry{digest: d2}
	p.Resolver = next
	for _, o := range p.Pin(t.Context(), request(podOf("r:1", "docker.io/library/r:1"))).Outcomes {
		if o.Pin.Digest() != d1 || !o.Sibling || len(next.asked) > 0 {
			t.Errorf("second pod: %s, from a sibling: %t, %d lookups, want %s of the first pod",
				o.Pin, o.Sibling, len(next.asked), d1)
		}
	}
}

// TestLayerStates checks which lookup follows for a text that no known sibling runs. Only the first
// pod of a revision gets no stale answer, because all others will run what it gets.
func TestLayerStates(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)
	for name, tt := range map[string]struct {
		pod           *workload.Object
		list          error
		lookup, first bool
	}{
		"first pod":   {podOf("r:1"), nil, true, true},
		"forbidden":   {podOf("r:1"), forbidden, true, false},
		"unknown":     {podOf("r:1"), errors.New("down"), false, false},
		"no revision": {&workload.Object{Kind: workload.Kind{Kind: "Pod"}, PodSpecs: podOf("r:1").PodSpecs}, nil, true, false},
	} {
		next := &registry{err: failure.Unavailable}
		p := &pin.Pinner{Layer: newSiblings(t, &fakeLister{err: tt.list}).Layer, Resolver: next}
		p.Pin(t.Context(), request(tt.pod))
		if len(next.asked) == 1 != tt.lookup {
			t.Errorf("%s: %d lookups, want one: %t", name, len(next.asked), tt.lookup)
		}
		for _, req := range next.asked {
			if req.First != tt.first {
				t.Errorf("%s: request with First %t, want %t", name, req.First, tt.first)
			}
		}
	}
}

// TestFirstTry checks that the first pod of a revision may have an answer that was asked for since
// a try of its controller that did not wait for the answer, if that was within the TTL. Another
// failure, and a dry run, are no such try.
func TestFirstTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &registry{err: failure.Unavailable}
		s := newSiblings(t, &fakeLister{})
		p := &pin.Pinner{Layer: s.Layer, Resolver: next}
		first := time.Now()
		for i, tt := range []struct {
			wait              time.Duration
			dryRun, impatient bool
			since             time.Time
		}{
			{0, false, false, time.Time{}},
			{0, true, true, time.Time{}},
			{0, false, true, time.Time{}},
			{time.Second, false, true, first},
			{20 * time.Second, false, false, first},
			{20 * time.Second, false, true, time.Time{}},
		} {
			time.Sleep(tt.wait)
			ctx, cancel := context.WithCancelCause(t.Context())
			next.ask = func() {
				if tt.impatient {
					cancel(resolve.ErrImpatient)
				}
			}
			req := request(podOf("r:1"))
			req.DryRun = tt.dryRun
			p.Pin(ctx, req)
			cancel(nil)
			if since := next.asked[len(next.asked)-1].Since; since != tt.since {
				t.Errorf("try %d: since %v, want %v", i, since, tt.since)
			}
		}
	})
}

// TestUnknownSiblings checks that nothing is resolved while it is not known what the siblings run.
// The error does not name the cause, which may contain an address.
func TestUnknownSiblings(t *testing.T) {
	lister := &fakeLister{json: []string{pinnedPod("h")}}
	s := newSiblings(t, lister)
	wantRunning(t, "before", s, revisionOf("u", "h"), known, d1)
	lister.err = errors.New("dial tcp 10.0.0.1:443: refused")
	next := &registry{digest: d2}
	p := &pin.Pinner{Layer: s.Layer, Resolver: next}
	got := p.Pin(t.Context(), request(podOf("r:1", "r:2"))).Outcomes
	if got[0].Pin.Digest() != d1 || got[0].Err != nil {
		t.Errorf("r:1, which a sibling runs: %s, %v, want it pinned to %s", got[0].Pin, got[0].Err, d1)
	}
	const want = "unavailable: the API server did not say what the other pods of its revision run"
	err := got[1].Err
	if !errors.Is(err, failure.Unavailable) || err.Error() != want || !got[1].Pin.IsZero() {
		t.Errorf("r:2: %s, %v, want no pin, and %s", got[1].Pin, err, want)
	}
	if len(next.asked) > 0 {
		t.Errorf("%d lookups, want none", len(next.asked))
	}
}

// TestKnownAfterTheContext checks that a pod gets the digest that its siblings are known to run
// even if the time for its review is over.
func TestKnownAfterTheContext(t *testing.T) {
	s := newSiblings(t, &fakeLister{json: []string{pinnedPod("h")}})
	wantRunning(t, "before", s, revisionOf("u", "h"), known, d1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	next := &registry{digest: d2}
	p := &pin.Pinner{Layer: s.Layer, Resolver: next}
	got := p.Pin(ctx, request(podOf("r:1", "r:2"))).Outcomes
	if got[0].Pin.Digest() != d1 || got[1].Err == nil || len(next.asked) > 0 {
		t.Errorf("r:1 %s, r:2 %v, %d lookups, want r:1 pinned, an error for r:2, no lookup",
			got[0].Pin, got[1].Err, len(next.asked))
	}
}

// state is what a sibling.Running says about a text without a digest.
type state string

const (
	known   state = "known or hidden"
	first   state = "first pod"
	unknown state = "unknown"
)

func stateOf(r sibling.Running) state {
	switch {
	case r.Err != nil:
		return unknown
	case r.First:
		return first
	}
	return known
}

// TestListsForKubernetes checks that the pods of a namespace's own users, whose lists take long, do
// not delay the lists for pods that a controller of Kubernetes creates there, of another revision
// or of the same one.
func TestListsForKubernetes(t *testing.T) {
	const flood, atOnce = 40, 8 // of each name under which they take turns, 4
	hold, held := make(chan struct{}), make(chan string, flood)
	s := &sibling.Siblings{
		Queue: sibling.Places(), Policy: &policy.Policy{},
		List: func(
			_ context.Context, r sibling.Revision, _ string, _ func([]byte) error,
		) (string, error) {
			if len(held) < atOnce {
				held <- r.Owner
				<-hold
			}
			return "", nil
		},
	}
	defer s.Close()
	p := &pin.Pinner{Layer: s.Layer, Resolver: &registry{digest: d1}}
	const controller = "system:serviceaccount:kube-system:replicaset-controller"
	create := func(user, sender, owner string) pin.Outcome {
		req := request(podOf("r:1"))
		req.User, req.Sender, req.Object.Metadata.Controller.UID = user, sender, owner
		return p.Pin(t.Context(), req).Outcomes[0]
	}
	var users sync.WaitGroup
	waits := map[string]bool{}
	for i := range flood {
		waits[fmt.Sprint(i)] = true
		user := []string{"jane", controller}[i%2] // the second one is made up
		users.Go(func() { create(user, "pod", fmt.Sprint(i)) })
	}
	for s.Queue.Stats().Waiting < flood-atOnce || len(held) < atOnce {
		time.Sleep(time.Millisecond)
	}
	for range atOnce {
		owner := <-held
		delete(waits, owner)
	}
	for range atOnce {
		held <- "so that no other list waits"
	}
	for _, owner := range append(slices.Sorted(maps.Keys(waits))[:3], "other") {
		done := make(chan pin.Outcome, 1)
		go func() { done <- create(controller, "api", owner) }()
		select {
		case o := <-done:
			if o.Err != nil {
				t.Errorf("owner %s: %v, want it pinned", owner, o.Err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("the list for owner %s waits for those of users", owner)
		}
	}
	close(hold)
	users.Wait()
}
