// SPDX-License-Identifier: Apache-2.0

package tenants

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/attack"
	"github.com/tagpin/tagpin/e2e/registry"
)

// row is an attack, the tenant that suffers it, and what that tenant has to see.
type row struct {
	attack.Attack
	victim func(t *testing.T) *attack.Victim
	sees   func(seen attack.Seen, attacker *attack.Tenant) error
}

// undisturbed is what the victim of every row here has to see: all its deploys are pinned within
// the time that an API server waits, without a warning, and nothing tells it who attacks.
func undisturbed(seen attack.Seen, attacker *attack.Tenant) error {
	return seen.Undisturbed(attacker)
}

func rows() []row {
	return []row{
		// Objects and their metadata.
		{attack.Ephemeral(), open, undisturbed},
		{attack.Mirror(), open, undisturbed},
		{attack.Auto(), open, undisturbed},
		{attack.Annotations(), open, undisturbed},
		{attack.Revision(), revision, undisturbed},
		// Pull secrets.
		{attack.BrokenToken(), private, undisturbed},
		{attack.ManyCredentials(), private, undisturbed},
		{attack.LargeCredentials(), private, undisturbed},
		{attack.Typos(), strict, undisturbed},
		// References and the answers of registries.
		{attack.Queue(), open, undisturbed},
		{attack.Stall(), open, undisturbed},
		{attack.Redirects(), open, undisturbed},
		{attack.Realm(), private, undisturbed},
		{attack.Rude(), open, undisturbed},
		{attack.Hosts(), open, undisturbed},
		// The number and the size of requests.
		{attack.LargeReviews(), open, undisturbed},
		{attack.LongTexts(), open, undisturbed},
		{attack.SlowHeaders(), open, undisturbed},
		{attack.Siblings(), open, undisturbed},
	}
}

// TestTenants has one tenant attack while another one deploys.
func TestTenants(t *testing.T) {
	for _, r := range rows() {
		t.Run(r.Name, func(t *testing.T) {
			alive(t)
			attacker, err := attack.NewTenant(t.Context(), place())
			if err != nil {
				t.Fatal(err)
			}
			closeAtEnd(t, attacker)
			seen, err := attack.Run(t.Context(), r.Attack, attacker, r.victim(t))
			t.Logf("the victim saw %s", seen)
			if err != nil {
				t.Error(err)
			}
			if err := r.sees(seen, attacker); err != nil {
				t.Error(err)
			}
			if err := env.Tagpin.Ready(t.Context()); err != nil {
				t.Errorf("after the attack tagpin is not ready: %v", err)
			}
		})
	}
}

// alive starts tagpin again if an attack before has ended it: that is held against that one alone.
func alive(t *testing.T) {
	t.Helper()
	if env.Tagpin.Ready(t.Context()) == nil {
		return
	}
	t.Log("tagpin is not ready: starting it again")
	if err := env.Tagpin.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := env.Tagpin.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func closeAtEnd(t *testing.T, tenant *attack.Tenant) {
	t.Helper()
	t.Cleanup(func() {
		if err := tenant.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// images pushes a few images of the test's own, and returns what they are to be pinned to.
func images(t *testing.T, r *registry.Registry) map[string]string {
	t.Helper()
	pins := map[string]string{}
	for i := range 3 {
		tag := fmt.Sprintf("%s-%d:1", strings.ToLower(t.Name()), i)
		digest, err := r.PushImage(tag)
		if err != nil {
			t.Fatal(err)
		}
		reference := r.Host + "/" + tag
		pins[reference] = reference + "@" + digest
	}
	return pins
}

func victim(t *testing.T, r *registry.Registry) *attack.Victim {
	t.Helper()
	v, err := attack.NewVictim(t.Context(), place(), images(t, r))
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, v.Tenant)
	return v
}

// open is a victim whose registry asks for no credential.
func open(t *testing.T) *attack.Victim {
	t.Helper()
	return victim(t, env.Open)
}

// private is a victim whose registry wants a token, which its pull secret gives.
func private(t *testing.T) *attack.Victim {
	t.Helper()
	v := victim(t, env.Token)
	err := v.SetSecret(t.Context(), env.Token.Host, registry.User, registry.Password)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// strict is a victim whose registry answers 401 for whatever it does not have.
func strict(t *testing.T) *attack.Victim {
	t.Helper()
	v, err := attack.NewStrictVictim(t.Context(), place())
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, v.Tenant)
	return v
}

// revision is a victim whose pods are of one revision: a tag has moved since the first of them was
// made.
func revision(t *testing.T) *attack.Victim {
	t.Helper()
	v := open(t)
	v.Owner = &attack.Owner{UID: "0c8e3a52-1f0b-4d3c-9b1e-7d5f6f0a9c11", Revision: "5d9c8b7f6"}
	if err := v.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := v.Store(t.Context()); err != nil {
		t.Fatal(err)
	}
	for image := range v.Pins {
		if _, err := env.Open.PushImage(strings.TrimPrefix(image, env.Open.Host+"/")); err != nil {
			t.Fatal(err)
		}
	}
	return v
}
