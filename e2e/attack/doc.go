// SPDX-License-Identifier: Apache-2.0

// Package attack is what a hostile tenant does to a cluster with tagpin in it: to the objects, the
// pull secrets, the registries and the requests that a tenant controls. Meanwhile another tenant
// works:
//
//	attacker, err := attack.NewTenant(ctx, place)
//	victim, err := attack.NewVictim(ctx, place)
//	…
//	seen, err := attack.Run(ctx, attack.Stall(), attacker, victim)
//	if err := seen.Undisturbed(attacker); err != nil {
//		t.Error(err)
//	}
//
// Package tenants runs all of it against one process of tagpin, and package whole against pods that
// have the chart's limit of memory.
package attack
