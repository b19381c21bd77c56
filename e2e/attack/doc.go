// SPDX-License-Identifier: Apache-2.0

// Package attack has the attacks that a hostile tenant can make on a cluster with tagpin: by the
// objects, the pull secrets, the registries and the requests that it controls. Another tenant, the
// victim, deploys meanwhile:
//
//	attacker, err := attack.NewTenant(ctx, place)
//	victim, err := attack.NewVictim(ctx, place)
//	…
//	result, err := attack.Run(ctx, attack.Stall(), attacker, victim)
//	if err := result.Undisturbed(attacker); err != nil {
//		t.Error(err)
//	}
//
// Package tenants runs all attacks against one process of tagpin. Package whole runs some against
// pods that have the chart's memory limit.
package attack
