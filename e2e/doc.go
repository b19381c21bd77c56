// SPDX-License-Identifier: Apache-2.0

// Package e2e tests all of tagpin: the real binary with a real API server and real registries,
// installed from the manifests that users install.
//
//	cd e2e && CGO_ENABLED=0 go test -trimpath -count=1 ./...
//
// The tools are built with CGO_ENABLED=0 and -trimpath too, so that Go's build cache holds
// Kubernetes only once. With -count=1 Go does not reuse old test results, whose cache knows nothing
// of deploy/ and of tagpin's binary. The first run builds etcd and Kubernetes, which may take
// longer than go test allows; "go run ./cmd/prepare" builds them without a time limit. Later runs
// find them in the user's cache folder.
//
// The tests have a module of their own, so that users of tagpin's packages don't get these
// dependencies. Package registries has the tests that need only registries, package tenants the
// attacks of one tenant on another, and package whole the tests that need running pods.
package e2e
