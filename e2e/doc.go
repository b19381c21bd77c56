// SPDX-License-Identifier: Apache-2.0

// Package e2e shows that the whole of tagpin works: a real API server, a real registry, the real binary, installed from
// the manifests that users install.
//
//	cd e2e && CGO_ENABLED=0 go test -trimpath -count=1 ./...
//
// The first two flags are those that the tools are built with; without them the build cache holds all of Kubernetes
// twice. The third is for what Go's cache of test results doesn't see: deploy/ and the packages of tagpin. The first run
// builds etcd and Kubernetes, which may take longer than go test allows; "go run ./cmd/prepare" builds them
// without a limit. Later runs take them from the user's cache folder.
//
// It has a module of its own, so that none of this reaches the users of tagpin's packages. What needs
// registries alone is in package registries, what one tenant does to another in package tenants, and what
// needs pods that run in package whole.
package e2e
