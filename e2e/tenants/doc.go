// SPDX-License-Identifier: Apache-2.0

// Package tenants shows that one tenant of a cluster can't harm another one through tagpin. The
// attacks use everything that a tenant controls: objects and their metadata, references, pull
// secrets, the answers of registries, and the number and the size of requests. Meanwhile a victim
// deploys images of an honest registry. Package attack has the attacks.
//
// If another fault is found by which a tenant harms others, add a row to TestTenants that fails,
// and then mend the fault. The table in e2e/README.md names the rows.
//
//	cd e2e && CGO_ENABLED=0 go test -trimpath -count=1 -v -run 'TestTenants/mirror' ./tenants
package tenants
