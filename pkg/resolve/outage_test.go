// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// outage is a test of 40 lookups of different images at the same time, all for pods of a
// controller, in a namespace that has half of the registry's places.
type outage struct {
	name  string
	rules rules
	host  registry.Host
	time  time.Duration // of the review; default: 3 s
	// stale is true if all pods get an old digest. Otherwise none may.
	stale bool
}

func (o outage) run(t *testing.T) {
	t.Parallel()
	w := registrytest.Start(t, o.rules)
	o.time = cmp.Or(o.time, 3*time.Second)
	o.host.Name, o.host.Timeout = w.Host(own), cmp.Or(o.host.Timeout, o.time*2/3)
	client := w.Client(o.host)
	answers := &resolve.Answers{}
	t.Cleanup(answers.Close)
	before := &resolve.Cache{Next: &backend{digest: d("old")}, Answers: answers, Client: client}
	after := &resolve.Cache{
		Next:    &resolve.Limit{Next: &resolve.Registry{Client: client}, Places: resolve.Places(0)},
		Answers: answers, Limits: resolve.Limits{StaleFor: time.Hour}, Client: client,
	}
	lookUp(t, before, o.host.Name, o.time)
	late := 0
	for i, got := range lookUp(t, after, o.host.Name, o.time) {
		switch {
		case o.stale && (!got.Stale || got.Digest != d("old")):
			t.Errorf("lookup %d = %+v, want the old digest", i, got)
		case !o.stale && (got.Stale || got.err != nil && !errors.Is(got.err, failure.Unavailable)):
			t.Errorf("lookup %d = %+v, want it answered or unavailable", i, got)
		case got.err != nil:
			late++
		}
	}
	if !o.stale && late == 0 {
		t.Error("no lookup was late, so that the test shows nothing")
	}
}

// TestOutageAfterARefusal checks that it is an outage if the registry is unavailable to the right
// credential, also if a wrong one before it was refused in time (rule 8).
func TestOutageAfterARefusal(t *testing.T) {
	t.Parallel()
	w := registrytest.Start(t, registrytest.BasicFor("v"))
	client := w.Client(registry.Host{Name: w.Host(own), Timeout: time.Second})
	cache := remembering(t, &resolve.Registry{Client: client})
	cache.Client, cache.Limits = client, resolve.Limits{StaleFor: time.Hour}
	req := resolve.Request{Ref: ref.MustParse(w.Host(own) + "/app:1"), Credentials: registrytest.Users("u", "v"), Namespace: "team"}
	if _, err := cache.Resolve(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	w.Change(rules{own: {{As: "v", Then: answer{Hang: "status"}}, {Then: registrytest.Denied}}})
	for i := range 3 {
		if got, err := cache.Resolve(t.Context(), req); !got.Stale {
			t.Errorf("lookup %d = %+v, %v, want the old digest", i, got, err)
		}
	}
}

// TestOutageForImpatience checks that a lookup whose controller did not wait for it gets an old
// digest only if the registry has been silent for longer than slow ones are.
func TestOutageForImpatience(t *testing.T) {
	t.Parallel()
	w := registrytest.Start(t, rules{own: {{Then: registrytest.Image}}})
	client := w.Client(registry.Host{Name: w.Host(own), Timeout: 20 * time.Second})
	cache := remembering(t, &resolve.Registry{Client: client})
	cache.Client, cache.Limits = client, resolve.Limits{StaleFor: time.Hour}
	req := resolve.Request{Ref: ref.MustParse(w.Host(own) + "/app:1"), Namespace: "team"}
	if _, err := cache.Resolve(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	w.Change(rules{own: {{Then: answer{Hang: "status"}}}})
	for _, tt := range []struct {
		wait  time.Duration
		stale bool
	}{{2 * time.Second, false}, {4 * time.Second, true}} {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(tt.wait, func() { cancel(resolve.ErrImpatient) })
		got, err := cache.Resolve(ctx, req)
		if got.Stale != tt.stale || !tt.stale && !errors.Is(err, resolve.ErrImpatient) {
			t.Errorf("after %v more: %+v, %v, want the old digest: %t", tt.wait, got, err, tt.stale)
		}
	}
}

// TestOutageAfterAStoppedLogin checks that it is an outage if the registry fails after a credential
// that was refused a moment ago, and is not shown again: the failure says so itself. So an old
// digest is used, of the registry and of its mirror. To other namespaces the failure says nothing.
func TestOutageAfterAStoppedLogin(t *testing.T) {
	t.Parallel()
	then := func(public answer) rules {
		return rules{own: {
			{On: "token", As: "nobody", Then: registrytest.Token},
			{On: "token", Then: answer{Status: 401}},
			{As: "public", Then: public},
			{Then: registrytest.Challenge},
		}}
	}
	w := registrytest.Start(t, then(registrytest.Image))
	client := w.Client(registry.Host{Name: w.Host(own)})
	cache := remembering(t, &resolve.Registry{Client: client})
	cache.Client, cache.Limits = client, resolve.Limits{StaleFor: time.Hour}
	req := resolve.Request{Ref: ref.MustParse(w.Host(own) + "/app:1"), Credentials: registrytest.Users("old"), Namespace: "team"}
	if _, err := cache.Resolve(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // so that the login is stopped
		other := req
		other.Ref = ref.MustParse(fmt.Sprintf("%s/app%d:1", w.Host(own), i))
		if _, err := cache.Resolve(t.Context(), other); err != nil {
			t.Fatal(err)
		}
	}
	w.Change(then(answer{Status: 502}))
	for i := range 3 {
		if got, err := cache.Resolve(t.Context(), req); !got.Stale {
			t.Errorf("lookup %d = %+v, %v, want the old digest", i, got, err)
		}
	}
	_, err := (&resolve.Registry{Client: client}).Resolve(t.Context(), req)
	if !errors.Is(err, registry.ErrOfNamespace) {
		t.Errorf("Resolve = %v, want a failure that is not remembered for other namespaces", err)
	}
	stale := resolve.Result{Digest: d("old"), Stale: true}
	mirrors := &resolve.Mirrors{
		Next: resolve.Func(func(_ context.Context, r resolve.Request) (resolve.Result, error) {
			if r.Ref.Host() == "mirror.example" {
				return stale, nil
			}
			return resolve.Result{}, err
		}),
		Client: w.Client(registry.Host{
			Name: w.Host(own), Mirrors: []registry.Mirror{{Host: "mirror.example", Resolve: true}},
		}),
	}
	if got, err := mirrors.Resolve(t.Context(), req); got != stale {
		t.Errorf("Resolve by a mirror = %+v, %v, want its old digest", got, err)
	}
}

// lookUp returns the results of the lookups, which have the time of a review.
func lookUp(t *testing.T, r resolve.Resolver, host string, review time.Duration) []result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), review)
	defer cancel()
	results := make([]result, 40)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			image := ref.MustParse(fmt.Sprintf("%s/app%d:1", host, i))
			got, err := r.Resolve(ctx, resolve.Request{Ref: image, Namespace: "team"})
			results[i] = result{got, err}
		})
	}
	wg.Wait()
	return results
}

// TestOutage checks that a lookup that has no answer when its time is over gets an old digest if
// its registry answers nobody, also if the lookup was never sent, and none if the registry answers
// others (rule 8).
func TestOutage(t *testing.T) {
	tick := make(chan struct{})
	go func() { // answers one request after another
		for {
			select {
			case <-time.After(200 * time.Millisecond):
			case <-t.Context().Done():
				return
			}
			select {
			case tick <- struct{}{}:
			case <-t.Context().Done():
				return
			}
		}
	}()
	slow, slower, hang := registrytest.Image, registrytest.Image, answer{Hang: "status"}
	slow.Hold, slower.Delay = tick, 3*time.Second
	for _, o := range []outage{
		{name: "hangs", rules: registrytest.Always(hang), host: registry.Host{MaxInFlight: 32}, stale: true},
		{name: "hangs, with a low rate", rules: registrytest.Always(hang), host: registry.Host{RequestsPerSecond: 4}, stale: true},
		{
			name: "its tokens hang", host: registry.Host{MaxInFlight: 32}, stale: true,
			rules: rules{own: {{On: "token", Then: hang}, {Then: registrytest.Challenge}}},
		},
		{name: "is slow", rules: registrytest.Always(slow), host: registry.Host{MaxInFlight: 2}},
		{name: "is slower", rules: registrytest.Always(slower), host: registry.Host{MaxInFlight: 32, Timeout: time.Minute}, time: 5 * time.Second},
		{name: "has a low rate", rules: registrytest.Always(registrytest.Image), host: registry.Host{RequestsPerSecond: 4}},
	} {
		t.Run(o.name, o.run)
	}
}
