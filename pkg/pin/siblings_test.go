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
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// siblings run what they are told, and remember what they are told.
type siblings struct {
	runs    map[string]digest.Digest
	asked   [][]string
	decided map[string]digest.Digest
	unsure  bool // there may be more
	decides bool // what was asked
	err     error
}

func (s *siblings) Running(_ context.Context, _ string, _ *workload.Object, texts []string, decides bool) (map[string]digest.Digest, bool, error) {
	s.asked, s.decides = append(s.asked, texts), decides
	return s.runs, s.err == nil && !s.unsure, s.err
}

func (s *siblings) Decide(_ string, _ *workload.Object, text string, d digest.Digest) digest.Digest {
	if s.decided == nil {
		s.decided = map[string]digest.Digest{}
	}
	if first, ok := s.decided[text]; ok {
		return first
	}
	s.decided[text] = d
	return d
}

// A controller's pod takes what its siblings run, and tells them what was looked up; nobody else does.
func TestSiblings(t *testing.T) {
	const running, resolved = digest.Digest("sha256:1111111111111111111111111111111111111111111111111111111111111111"),
		digest.Digest("sha256:2222222222222222222222222222222222222222222222222222222222222222")
	owner := workload.Owner{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "r", UID: "u"}
	pod, deployment := workload.Kind{Kind: "Pod"}, workload.Kind{Group: "apps", Kind: "Deployment"}
	for _, tt := range []struct {
		name    string
		request pin.Request
		kind    workload.Kind
		owner   workload.Owner
		asked   int
		decided bool
		want    digest.Digest // of what a sibling runs
	}{
		{name: "a controller's pod", kind: pod, owner: owner, asked: 1, decided: true, want: running},
		{name: "to be stored nowhere", request: pin.Request{DryRun: true}, kind: pod, owner: owner, asked: 1, want: running},
		{name: "proposed", request: pin.Request{Mode: pin.DryRun}, kind: pod, owner: owner, asked: 1, want: running},
		{name: "kept", request: pin.Request{Mode: pin.Keep}, kind: pod, owner: owner},
		{name: "a person's pod", kind: pod, want: resolved},
		{name: "a workload", kind: deployment, want: resolved},
		{name: "updated", request: pin.Request{Input: policy.Input{Operation: policy.Update}}, kind: pod, owner: owner, want: resolved},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var lookups atomic.Int32
			s := &siblings{runs: map[string]digest.Digest{"a:1": running}}
			p := &pin.Pinner{Siblings: s, Resolver: resolve.Func(func(context.Context, resolve.Request) (resolve.Result, error) {
				lookups.Add(1)
				return resolve.Result{Digest: resolved}, nil
			})}
			o := &workload.Object{Kind: tt.kind, Metadata: workload.Metadata{Controller: tt.owner}, PodSpecs: []workload.PodSpec{{
				Annotated: true, References: []workload.Reference{{Name: "a", Text: "a:1"}, {Name: "b", Text: "b:1"}},
			}}}
			tt.request.Object = o
			if tt.request.Operation == "" {
				tt.request.Operation = policy.Create
			}
			outcomes := p.Pin(t.Context(), tt.request).Outcomes
			if got := outcomes[0].Pin.Digest(); got != tt.want {
				t.Errorf("what a sibling runs is pinned to %q, want %q", got, tt.want)
			}
			if tt.want != "" && outcomes[1].Pin.Digest() != resolved {
				t.Errorf("another is pinned to %q, want %s", outcomes[1].Pin.Digest(), resolved)
			}
			if len(s.asked) != tt.asked || tt.asked == 1 && len(s.asked[0]) != 2 {
				t.Errorf("asked for %q, want %d times for both", s.asked, tt.asked)
			}
			if _, ok := s.decided["b:1"]; ok != tt.decided || len(s.decided) > 1 || s.decides != tt.decided {
				t.Errorf("told of %v, and that it decides: %t, want b:1: %t", s.decided, s.decides, tt.decided)
			}
			if tt.want == running && (lookups.Load() != 1 || outcomes[0].Reason != policy.Sibling) {
				t.Errorf("%d look-ups, reason %s, want one, sibling", lookups.Load(), outcomes[0].Reason)
			}
		})
	}
}

// Another pod of the revision may have been faster: it has decided.
func TestSiblingWasFaster(t *testing.T) {
	const first, second = digest.Digest("sha256:1111111111111111111111111111111111111111111111111111111111111111"),
		digest.Digest("sha256:2222222222222222222222222222222222222222222222222222222222222222")
	p := &pin.Pinner{
		Siblings: &siblings{decided: map[string]digest.Digest{"a:1": first}},
		Resolver: resolve.Func(func(context.Context, resolve.Request) (resolve.Result, error) {
			return resolve.Result{Digest: second}, nil
		}),
	}
	o := &workload.Object{Kind: workload.Kind{Kind: "Pod"}, Metadata: workload.Metadata{Controller: workload.Owner{UID: "u"}}}
	o.PodSpecs = []workload.PodSpec{{Annotated: true, References: []workload.Reference{{Name: "a", Text: "a:1"}}}}
	got := p.Pin(t.Context(), pin.Request{Input: policy.Input{Operation: policy.Create, Object: o}}).Outcomes[0]
	if got.Pin.Digest() != first || got.Entry.Digest() != first {
		t.Errorf("pinned to %s, entry %s, want what was decided, %s", got.Pin, got.Entry, first)
	}
}

// The first pod of a revision asks the registry, since all others will run what it gets; where it is not sure to be the first,
// a remembered answer will do, as for every pod of a controller.
func TestFirstOfARevision(t *testing.T) {
	for unsure, want := range map[bool]bool{false: true, true: false} {
		var asked resolve.Request
		p := &pin.Pinner{Siblings: &siblings{unsure: unsure}, Resolver: resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
			asked = req
			return resolve.Result{}, resolve.ErrUnavailable
		})}
		o := &workload.Object{Kind: workload.Kind{Kind: "Pod"}, Metadata: workload.Metadata{Controller: workload.Owner{UID: "u"}}}
		o.PodSpecs = []workload.PodSpec{{Annotated: true, References: []workload.Reference{{Name: "a", Text: "a:1"}}}}
		p.Pin(t.Context(), pin.Request{Input: policy.Input{Operation: policy.Create, Object: o}})
		if asked.First != want || asked.Fresh {
			t.Errorf("unsure %t: asked with First %t, Fresh %t, want First %t alone", unsure, asked.First, asked.Fresh, want)
		}
	}
}

// Where it is not known what siblings run, nothing is resolved in their place: another time it may go well. What is known,
// counts, and the cause is not told.
func TestSiblingsUnknown(t *testing.T) {
	const running = digest.Digest("sha256:1111111111111111111111111111111111111111111111111111111111111111")
	s := &siblings{runs: map[string]digest.Digest{"a:1": running}, err: errors.New("dial tcp 10.0.0.1:443: refused")}
	p := &pin.Pinner{Siblings: s, Resolver: resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
		t.Errorf("asked for %s, want nothing asked", req.Ref)
		return resolve.Result{}, resolve.ErrNotFound
	})}
	o := &workload.Object{Kind: workload.Kind{Kind: "Pod"}, Metadata: workload.Metadata{Controller: workload.Owner{UID: "u"}}}
	o.PodSpecs = []workload.PodSpec{{Annotated: true, References: []workload.Reference{{Name: "a", Text: "a:1"}, {Name: "b", Text: "b:1"}}}}
	got := p.Pin(t.Context(), pin.Request{Input: policy.Input{Operation: policy.Create, Object: o}}).Outcomes
	if got[0].Pin.Digest() != running || got[0].Err != nil {
		t.Errorf("what a sibling runs: %s, %v, want it pinned to %s", got[0].Pin, got[0].Err, running)
	}
	const want = "unavailable: the API server has not told what the other pods of its revision run"
	if err := got[1].Err; !errors.Is(err, resolve.ErrUnavailable) || err.Error() != want || got[1].Pin != (ref.Reference{}) {
		t.Errorf("the other: %s, %v, want no pin, and %s", got[1].Pin, err, want)
	}
	if len(s.decided) > 0 {
		t.Errorf("decided %v, want nothing", s.decided)
	}
}
