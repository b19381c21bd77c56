// SPDX-License-Identifier: Apache-2.0

package tenants

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/attack"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/registry"
)

// row is an attack and its victim.
type row struct {
	attack.Attack
	victim func(t *testing.T) *attack.Victim
}

func rows() []row {
	return []row{
		// Objects and their metadata.
		{attack.Ephemeral(), open},
		{attack.Mirror(), open},
		{attack.Auto(), open},
		{attack.Annotations(), open},
		{attack.Revision(), revision},
		// Pull secrets.
		{attack.BrokenToken(), private},
		{attack.ManyCredentials(), private},
		{attack.SlowGlobs(), private},
		{attack.LargeCredentials(), private},
		{attack.WaitingCredentials(), private},
		{attack.LongNames(), private},
		{attack.Typos(), strict},
		// References and the answers of registries.
		{attack.Queue(), open},
		{attack.Stall(), open},
		{attack.Redirects(), open},
		{attack.LongRedirects(), open},
		{attack.Realm(), private},
		{attack.Rude(), open},
		{attack.Hosts(), open},
		// The number and the size of requests.
		{attack.LargeReviews(), open},
		{attack.LongTexts(), open},
		{attack.SlowHeaders(), open},
		{attack.Siblings(), open},
		{attack.AbandonedLists(), open},
	}
}

// TestTenants has one tenant attack while another one deploys. All deploys of the victim must be
// pinned within the time that an API server waits, without a warning, and nothing may tell the
// victim who attacks.
func TestTenants(t *testing.T) {
	for _, r := range rows() {
		t.Run(r.Name, func(t *testing.T) {
			alive(t)
			attacker, err := attack.NewTenant(t.Context(), place())
			if err != nil {
				t.Fatal(err)
			}
			closeAtEnd(t, attacker)
			result, err := attack.Run(t.Context(), r.Attack, attacker, r.victim(t))
			t.Logf("the victim had %s", result)
			if err != nil {
				t.Error(err)
			}
			if err := result.Undisturbed(attacker); err != nil {
				t.Error(err)
			}
			if err := env.Tagpin.Ready(t.Context()); err != nil {
				t.Errorf("tagpin is not ready after the attack: %v", err)
			}
		})
	}
}

// alive restarts tagpin if an earlier attack has ended it, so that only that attack's test fails.
func alive(t *testing.T) {
	t.Helper()
	if env.Tagpin.Ready(t.Context()) == nil {
		return
	}
	t.Log("tagpin is not ready; starting it again")
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

// images pushes a few images for the test, and returns the expected pins.
func images(t *testing.T, r *registry.Registry) map[string]string {
	t.Helper()
	pins := map[string]string{}
	for i := range 3 {
		tag := fmt.Sprintf("%s-%d:1", strings.ToLower(t.Name()), i)
		reference, digest := clustertest.Push(t, r, tag)
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

// open returns a victim whose registry requires no credential.
func open(t *testing.T) *attack.Victim {
	t.Helper()
	return victim(t, env.Open)
}

// private returns a victim whose registry requires a token, which its pull secret gives access to.
func private(t *testing.T) *attack.Victim {
	t.Helper()
	v := victim(t, env.Token)
	err := v.SetSecret(t.Context(), env.Token.Host, registry.User, registry.Password)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// strict returns a victim whose registry answers 401 for everything that it does not have.
func strict(t *testing.T) *attack.Victim {
	t.Helper()
	v, err := attack.NewStrictVictim(t.Context(), place())
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, v.Tenant)
	return v
}

// revision returns a victim whose pods belong to one revision. The tags have moved since the first
// of them was created.
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
		clustertest.Push(t, env.Open, strings.TrimPrefix(image, env.Open.Host+"/"))
	}
	return v
}
