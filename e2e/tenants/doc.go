// SPDX-License-Identifier: Apache-2.0

// Package tenants shows that one tenant of a cluster can't harm another one by way of tagpin.
// Everything that a tenant controls is attacked: objects and their metadata, references, pull
// secrets, the answers of registries, the number and the size of requests. A victim deploys
// meanwhile from an honest registry, and each row of TestTenants says what it has to see. Package
// attack has the attacks themselves.
//
// This is the place for whatever is found later: a fault by which one tenant harms another gets a
// row here, and fails it, before it is mended. The table "Tenants" in e2e/README.md names the rows.
//
//	cd e2e && CGO_ENABLED=0 go test -trimpath -count=1 -v -run 'TestTenants/mirror' ./tenants
package tenants
