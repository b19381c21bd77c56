// SPDX-License-Identifier: Apache-2.0

// Package e2e tests all of tagpin: the real binary with a real API server and real registries,
// installed from the manifests that users install.
//
//	cd e2e && CGO_ENABLED=0 go test -trimpath -count=1 .
//
// The tools are built with CGO_ENABLED=0 and -trimpath too, so that Go's build cache holds
// Kubernetes only once. With -count=1 Go does not reuse old test results, whose cache knows nothing
// of deploy/ and of tagpin's binary. The first run builds etcd and Kubernetes, which may take
// longer than go test allows; "go run ./cmd/prepare" builds them without a time limit. Later runs
// find them in the user's cache folder.
//
// The tests have a module of their own, so that users of tagpin's packages don't get these
// dependencies. The tests are in these folders:
//
//   - e2e: tests with an API server
//   - controllers: with Kubernetes' controllers and scheduler too
//   - kinds: custom resources that have pod templates
//   - chart: the Helm chart
//   - certificates: the certificates of the webhook
//   - registries: with registries only, without Kubernetes
//   - containerd: what a node does with the same odd registries
//   - tenants: attacks of one tenant on another
//   - trail: from a denied pod to its cause
//   - whole: with running pods, which needs Linux and root
//   - neighbours: beside other programs that real clusters have; make test-neighbours runs them
//   - playground: what make cluster starts
//   - bench: rows of hack/bench
//
// They use packages cluster, clustertest, node, registry, attack and load. Those use packages
// tools, child, scratch, interrupt, forward, pki and poll.
package e2e
