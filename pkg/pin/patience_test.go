// SPDX-License-Identifier: Apache-2.0

package pin_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
	"github.com/tagpin/tagpin/pkg/workload"
)

// slow returns a Pinner whose lookups take a time.
func slow(t *testing.T, takes time.Duration) *pin.Pinner {
	t.Helper()
	next := func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
		if err := req.Begin(); err != nil {
			return resolve.Result{}, err
		}
		select {
		case <-time.After(takes):
			return resolve.Result{Digest: resolvetest.Digest("x")}, nil
		case <-ctx.Done():
			return resolve.Result{}, failure.Unavailable
		}
	}
	answers := new(resolve.Answers)
	t.Cleanup(answers.Close)
	return &pin.Pinner{
		Resolver: &resolve.Cache{
			Next: resolve.Func(next), Answers: answers, Client: new(registry.Client),
			Limits: resolve.Limits{TTL: 30 * time.Second, NegativeTTL: 5 * time.Second},
		},
		Helpers: pin.HelperRoom(), Patience: new(pin.Patience),
	}
}

// owned returns a request of a controller that creates a Pod.
func owned(namespace, sender string, images ...string) pin.Request {
	spec := workload.PodSpec{}
	for i, image := range images {
		r := workload.Reference{Name: fmt.Sprint("c", i), Text: image}
		spec.References = append(spec.References, r)
	}
	pod := &workload.Object{Kind: workload.Kind{Kind: "Pod"}, PodSpecs: []workload.PodSpec{spec}}
	pod.Metadata.Controller = workload.Owner{APIVersion: "apps/v1", Kind: "ReplicaSet", UID: "u"}
	return pin.Request{
		Input: policy.Input{
			Operation: policy.Create, Object: pod,
			User: "system:serviceaccount:kube-system:replicaset-controller",
		},
		Namespace: namespace, Sender: sender,
	}
}

// TestPatience checks how long the controllers of a namespace wait for slow registries in all,
// however many images their pods have, and that nobody else waits less for that.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := slow(t, 5*time.Second)
		n := 0
		type with = func(images ...string) pin.Request
		try := func(req with, images int) (took time.Duration, r pin.Result) {
			var texts []string
			for range images {
				n++
				texts = append(texts, fmt.Sprintf("ghcr.io/a:%d", n))
			}
			began := time.Now()
			r = p.Pin(t.Context(), req(texts...))
			return time.Since(began), r
		}
		loud := func(images ...string) pin.Request { return owned("loud", "api", images...) }
		var all time.Duration
		const most = 3 * time.Minute
		began := time.Now()
		tries := 0
		for time.Since(began) < most {
			took, r := try(loud, 100)
			all += took
			tries++
			if err := r.Outcomes[99].Err; !r.Impatient || failure.Of(err) != failure.Unavailable ||
				!strings.Contains(err.Error(), "waited long enough for images of namespace loud") {
				t.Fatalf("impatient %t, %v, want the reason", r.Impatient, err)
			}
			time.Sleep(time.Second)
		}
		if over := all - time.Duration(tries)*200*time.Millisecond; over > 16*time.Second+most/10 {
			t.Errorf("%d pods waited %v beyond 200 ms each, want at most 34 s", tries, over)
		}
		for name, req := range map[string]with{
			"another namespace": func(images ...string) pin.Request { return owned("modest", "api", images...) },
			"another sender":    func(images ...string) pin.Request { return owned("loud", "pod", images...) },
			"no controller": func(images ...string) pin.Request {
				r := loud(images...)
				r.Object.Metadata.Controller = workload.Owner{}
				return r
			},
			"another controller": func(images ...string) pin.Request {
				r := loud(images...)
				r.User = "system:serviceaccount:argo:argo"
				return r
			},
			"update": func(images ...string) pin.Request {
				r := loud(images...)
				r.Operation = policy.Update
				return r
			},
		} {
			took, r := try(req, 3)
			err, seconds := r.Outcomes[0].Err, took.Round(time.Second).Seconds()
			if r.Impatient || err != nil || seconds != 5 {
				t.Errorf("%s: %v after %v, want the answer after 5s", name, err, took)
			}
		}
	})
}

// TestPatienceOfSeveralWorkers checks that workers that wait at the same time wait no longer in all
// than one after another.
func TestPatienceOfSeveralWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers = 22
		p := slow(t, 20*time.Second)
		waits := make(chan time.Duration, workers)
		for i := range workers {
			go func() {
				began := time.Now()
				p.Pin(t.Context(), owned("loud", "api", fmt.Sprint("ghcr.io/a:", i)))
				waits <- time.Since(began) - 200*time.Millisecond
			}()
		}
		var all time.Duration
		for range workers {
			all += <-waits
		}
		if all < 15*time.Second || all > 17*time.Second {
			t.Errorf("%d workers waited %v beyond 200 ms each, want about 16 s", workers, all)
		}
	})
}

// TestPatienceAndRetries checks that a lookup goes on when a controller's pod did not wait for it,
// and that the controller gets the answer when it tries again: also for the first pod of a
// revision, for which an older digest does not do.
func TestPatienceAndRetries(t *testing.T) {
	for _, first := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p := slow(t, 3*time.Second)
			if first {
				p.Pin(t.Context(), owned("blog", "api", "ghcr.io/a:1")) // has the digest remembered
				time.Sleep(time.Second)
			}
			for i := range 20 { // until all time is used up
				p.Pin(t.Context(), owned("shop", "api", fmt.Sprint("ghcr.io/other:", i)))
			}
			began := time.Now()
			p.Layer = func(
				_ context.Context, next resolve.Resolver, _ pin.Request, _ []ref.Reference,
			) resolve.Resolver {
				return resolve.Func(func(ctx context.Context, r resolve.Request) (resolve.Result, error) {
					if r.First = first; first {
						r.Since = began
					}
					return next.Resolve(ctx, r)
				})
			}
			tries := 0
			for pause := 5 * time.Millisecond; ; pause *= 2 {
				tries++
				if p.Pin(t.Context(), owned("shop", "api", "ghcr.io/a:1")).Outcomes[0].Err == nil {
					break
				}
				time.Sleep(pause)
			}
			if took := time.Since(began); tries == 1 || took < 3*time.Second || took > 6*time.Second {
				t.Errorf("first %t: an answer after %d tries and %v, want it soon after 3s", first, tries, took)
			}
		})
	}
}
