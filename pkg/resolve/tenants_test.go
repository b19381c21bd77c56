// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// TestTenants checks that what one tenant's secret has opened is not returned without that secret,
// remembered or not, and that a rotated secret is read again.
func TestTenants(t *testing.T) {
	w := registrytest.Start(t, registrytest.Bearer("u"))
	top := build(t, w.Client(registry.Host{Name: w.Host(own)}))
	ask := func(namespace string, fresh bool, keys keychain.Keychain) error {
		_, err := top.Resolve(t.Context(), resolve.Request{Ref: ref.MustParse(w.Host(own) + "/app:1"), Namespace: namespace, Fresh: fresh, Keychain: keys})
		silent(t, err)
		return err
	}
	if err := ask("a", true, having(registrytest.Users("u")...)); err != nil {
		t.Fatal(err)
	}
	for _, fresh := range []bool{true, false} {
		for name, keys := range map[string]keychain.Keychain{
			"no credential": nil, "none that fits": having(), "another's": having(registrytest.Users("v")...), "another's before": having(registrytest.Users("v", "w")...),
			"the same, shared": having(registrytest.Shared("v")), "the user without the password": having(keychain.Credential{Auth: registrytest.Identity("v")}),
		} {
			if err := ask("b", fresh, keys); !errors.Is(err, failure.Unauthorized) {
				t.Errorf("%s, fresh %t: %v, want it unauthorized", name, fresh, err)
			}
		}
	}
	if err := ask("b", false, having(registrytest.Users("u")...)); err != nil { // who has it knows
		t.Error(err)
	}
	// The secret is replaced in the cluster, and the old password is refused by the registry: a
	// refusal makes the secret be read again, within the same lookup.
	w.Change(registrytest.Bearer("new"))
	rotated := func(_ context.Context, _ ref.Reference, fresh bool) []keychain.Credential {
		if fresh {
			return registrytest.Users("new")
		}
		return registrytest.Users("old")
	}
	if err := ask("a", true, keychain.Func(rotated)); err != nil {
		t.Errorf("after the secret was rotated: %v", err)
	}
}

// waitedFor is a context that calls waits when a caller begins to wait with it.
type waitedFor struct {
	context.Context

	waits func()
}

// Done implements context.Context.
func (w waitedFor) Done() <-chan struct{} {
	w.waits()
	return w.Context.Done()
}

// TestManyAtOnce checks that many lookups of fewer images ask for each image once, and that each
// gets its own digest.
func TestManyAtOnce(t *testing.T) {
	const images, lookups = 40, 100
	hold := make(chan struct{})
	var list []rule
	body := func(i int) string { return fmt.Sprintf(`{"schemaVersion":2,"config":{"n":%d},"layers":[]}`, i) }
	for i := range images {
		a := registrytest.Manifest(registrytest.ImageType, body(i))
		a.Hold = hold
		list = append(list, rule{On: fmt.Sprintf("app%d", i), Then: a})
	}
	w := registrytest.Start(t, rules{own: list})
	host := registry.Host{Name: w.Host(own), MaxInFlight: 1000, RequestsPerSecond: 1000}
	top := build(t, w.Client(host))
	var wg, waiting sync.WaitGroup
	waiting.Add(lookups)
	for i := range lookups {
		wg.Go(func() {
			ctx := waitedFor{t.Context(), sync.OnceFunc(waiting.Done)}
			r := resolve.Request{Ref: ref.MustParse(fmt.Sprintf("%s/app%d:1", w.Host(own), i%images)), Namespace: fmt.Sprint(i % 5)}
			got, err := top.Resolve(ctx, r)
			if err != nil || got.Digest != digest.FromString(body(i%images)) {
				t.Errorf("%s = %v, %v", r.Ref, got, err)
			}
		})
	}
	waiting.Wait() // a lookup that came later could find that its image's request has just ended
	close(hold)
	wg.Wait()
	asked := w.Requests()
	slices.Sort(asked)
	if len(slices.Compact(slices.Clone(asked))) != images || len(asked) != images {
		t.Errorf("%d requests, want one for each of %d images", len(asked), images)
	}
}

// TestFlood checks that a namespace that floods a registry, or has used the quota of its own
// credential, leaves others their turn.
func TestFlood(t *testing.T) {
	hold := make(chan struct{})
	waits := registrytest.Image
	waits.Hold = hold
	w := registrytest.Start(t, rules{own: {
		{On: "modest", Then: registrytest.Image},
		{As: "greedy", Then: registrytest.Busy(429, "600")},
		{On: "quota", As: "nobody", Then: registrytest.Denied},
		{On: "quota", Then: registrytest.Image},
		{Then: waits},
	}})
	host := w.Host(own)
	top := build(t, w.Client(registry.Host{Name: host, MaxInFlight: 8, RequestsPerSecond: 1e6}))
	ask := func(namespace, image string, creds ...keychain.Credential) error {
		_, err := top.Resolve(t.Context(), resolve.Request{Ref: ref.MustParse(host + "/" + image), Namespace: namespace, Keychain: having(creds...), Fresh: true})
		return err
	}
	var flood sync.WaitGroup
	for i := range 60 {
		flood.Go(func() {
			if err := ask("greedy", fmt.Sprintf("flood:%d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	if err := ask("modest", "modest:1"); err != nil { // though none of the flood has an answer
		t.Error(err)
	}
	if n := len(w.Requests()); n > 5 {
		t.Errorf("%d requests before the first answer, want at most half of the places and this one", n)
	}
	close(hold)
	flood.Wait()
	if err := ask("greedy", "quota:1", registrytest.Users("greedy")...); !errors.Is(err, failure.Unavailable) || !strings.Contains(err.Error(), "429") {
		t.Errorf("over the quota: %v", err)
	}
	if err := ask("greedy", "quota:2", registrytest.Users("greedy")...); err == nil || !strings.Contains(err.Error(), "not asked again") {
		t.Errorf("over the quota, once more: %v", err)
	}
	if err := ask("modest", "quota:1", registrytest.Users("modest")...); err != nil {
		t.Errorf("another's quota: %v", err)
	}
}
