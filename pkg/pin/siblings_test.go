// SPDX-License-Identifier: Apache-2.0

package pin_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// fakeSiblings is a pin.Siblings that returns running, and notes its calls.
type fakeSiblings struct {
	running pin.Running
	asked   [][]string // the texts of each call of Running
	stored  bool       // as in the last call of Running
	decided map[string]digest.Digest
}

func (s *fakeSiblings) Running(
	_ context.Context, _ string, _ *workload.Object, texts []string, stored bool,
) pin.Running {
	s.asked, s.stored = append(s.asked, texts), stored
	return s.running
}

func (s *fakeSiblings) Decide(
	_ string, _ *workload.Object, text string, d digest.Digest,
) digest.Digest {
	if s.decided == nil {
		s.decided = map[string]digest.Digest{}
	}
	if first, ok := s.decided[text]; ok {
		return first
	}
	s.decided[text] = d
	return d
}

const (
	d1 = digest.Digest("sha256:1111111111111111111111111111111111111111111111111111111111111111")
	d2 = digest.Digest("sha256:2222222222222222222222222222222222222222222222222222222222222222")
)

// controlledPod returns a pod that a controller creates, with a container for each image.
func controlledPod(images ...string) *workload.Object {
	spec := workload.PodSpec{Annotated: true}
	for _, image := range images {
		spec.References = append(spec.References, workload.Reference{Name: image[:1], Text: image})
	}
	return &workload.Object{
		Kind:     workload.Kind{Kind: "Pod"},
		Metadata: workload.Metadata{Controller: workload.Owner{UID: "u"}},
		PodSpecs: []workload.PodSpec{spec},
	}
}

// TestSiblings checks that only a new pod of a controller takes the digest that its siblings run,
// and that a digest that was resolved for it is recorded only if the pod will be stored.
func TestSiblings(t *testing.T) {
	const running, resolved = d1, d2
	owner := workload.Owner{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "r", UID: "u"}
	pod, deployment := workload.Kind{Kind: "Pod"}, workload.Kind{Group: "apps", Kind: "Deployment"}
	for _, tt := range []struct {
		name    string
		request pin.Request
		kind    workload.Kind
		owner   workload.Owner
		asked   int           // calls of Running
		decided bool          // the digest of b:1 is recorded
		want    digest.Digest // of a:1, which a sibling runs
	}{
		{name: "pod of a controller", kind: pod, owner: owner, asked: 1, decided: true, want: running},
		{name: "dry run of the API server", request: pin.Request{DryRun: true}, kind: pod, owner: owner, asked: 1, want: running},
		{name: "mode dry-run", request: pin.Request{Mode: pin.DryRun}, kind: pod, owner: owner, asked: 1, want: running},
		{name: "mode keep", request: pin.Request{Mode: pin.Keep}, kind: pod, owner: owner},
		{name: "pod without a controller", kind: pod, want: resolved},
		{name: "workload", kind: deployment, want: resolved},
		{name: "update", request: pin.Request{Input: policy.Input{Operation: policy.Update}}, kind: pod, owner: owner, want: resolved},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var lookups atomic.Int32
			s := &fakeSiblings{running: pin.Running{
				State: pin.FirstPod, Digests: map[string]digest.Digest{"a:1": running},
			}}
			resolver := resolve.Func(func(context.Context, resolve.Request) (resolve.Result, error) {
				lookups.Add(1)
				return resolve.Result{Digest: resolved}, nil
			})
			p := &pin.Pinner{Siblings: s, Resolver: resolver}
			o := controlledPod("a:1", "b:1")
			o.Kind, o.Metadata.Controller = tt.kind, tt.owner
			tt.request.Object = o
			if tt.request.Operation == "" {
				tt.request.Operation = policy.Create
			}
			outcomes := p.Pin(t.Context(), tt.request).Outcomes
			if got := outcomes[0].Pin.Digest(); got != tt.want {
				t.Errorf("a:1, which a sibling runs, is pinned to %q, want %q", got, tt.want)
			}
			if tt.want != "" && outcomes[1].Pin.Digest() != resolved {
				t.Errorf("b:1 is pinned to %q, want %s", outcomes[1].Pin.Digest(), resolved)
			}
			if len(s.asked) != tt.asked || tt.asked == 1 && len(s.asked[0]) != 2 {
				t.Errorf("calls of Running for %q, want %d for both texts", s.asked, tt.asked)
			}
			_, ok := s.decided["b:1"]
			if ok != tt.decided || len(s.decided) > 1 || s.stored != tt.decided {
				t.Errorf("recorded %v, stored %t, want b:1 recorded, and stored: %t",
					s.decided, s.stored, tt.decided)
			}
			if tt.want == running && (lookups.Load() != 1 || outcomes[0].Reason != policy.Sibling) {
				t.Errorf("%d lookups, reason %s, want 1 lookup, reason %s",
					lookups.Load(), outcomes[0].Reason, policy.Sibling)
			}
		})
	}
}

// TestSiblingWasFaster checks that a pod takes the digest that another pod of its revision recorded
// while the lookup was under way.
func TestSiblingWasFaster(t *testing.T) {
	p := &pin.Pinner{
		Siblings: &fakeSiblings{
			running: pin.Running{State: pin.FirstPod},
			decided: map[string]digest.Digest{"a:1": d1},
		},
		Resolver: resolve.Func(func(context.Context, resolve.Request) (resolve.Result, error) {
			return resolve.Result{Digest: d2}, nil
		}),
	}
	got := p.Pin(t.Context(), pin.Request{Input: create(controlledPod("a:1"))}).Outcomes[0]
	if got.Pin.Digest() != d1 || got.Entry.Digest() != d1 {
		t.Errorf("pinned to %s, entry %s, want the recorded digest %s", got.Pin, got.Entry, d1)
	}
}

// TestSiblingStates checks which lookup each state leads to for a text that no known sibling runs.
// Only the first pod of a revision gets no stale answer, because all others will run what it gets.
func TestSiblingStates(t *testing.T) {
	for state, want := range map[pin.SiblingState]struct{ lookup, first bool }{
		pin.NoRevision:      {true, false},
		pin.FirstPod:        {true, true},
		pin.SiblingsHidden:  {true, false},
		pin.SiblingsUnknown: {false, false},
	} {
		var asked []resolve.Request
		resolver := resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
			asked = append(asked, req)
			return resolve.Result{}, resolve.ErrUnavailable
		})
		p := &pin.Pinner{
			Siblings: &fakeSiblings{running: pin.Running{State: state}}, Resolver: resolver,
		}
		p.Pin(t.Context(), pin.Request{Input: create(controlledPod("a:1"))})
		if len(asked) == 1 != want.lookup {
			t.Errorf("state %d: %d lookups, want one: %t", state, len(asked), want.lookup)
			continue
		}
		for _, req := range asked {
			if req.First != want.first || req.Fresh {
				t.Errorf("state %d: request with First %t, Fresh %t, want First %t, Fresh false",
					state, req.First, req.Fresh, want.first)
			}
		}
	}
}

// TestSiblingsUnknown checks that nothing is resolved while it is not known what the siblings run.
// The error does not name the cause, which may contain an address.
func TestSiblingsUnknown(t *testing.T) {
	s := &fakeSiblings{running: pin.Running{
		State:   pin.SiblingsUnknown,
		Digests: map[string]digest.Digest{"a:1": d1},
		Err:     errors.New("dial tcp 10.0.0.1:443: refused"),
	}}
	resolver := resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
		t.Errorf("lookup of %s, want none", req.Ref)
		return resolve.Result{}, resolve.ErrNotFound
	})
	p := &pin.Pinner{Siblings: s, Resolver: resolver}
	got := p.Pin(t.Context(), pin.Request{Input: create(controlledPod("a:1", "b:1"))}).Outcomes
	if got[0].Pin.Digest() != d1 || got[0].Err != nil {
		t.Errorf("a:1, which a sibling runs: %s, %v, want it pinned to %s", got[0].Pin, got[0].Err, d1)
	}
	const want = "unavailable: the API server did not say what the other pods of its revision run"
	err := got[1].Err
	if !errors.Is(err, resolve.ErrUnavailable) || err.Error() != want || !got[1].Pin.IsZero() {
		t.Errorf("b:1: %s, %v, want no pin, and %s", got[1].Pin, err, want)
	}
	if len(s.decided) > 0 {
		t.Errorf("recorded %v, want nothing", s.decided)
	}
}
