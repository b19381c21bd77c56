// SPDX-License-Identifier: Apache-2.0

// Package registries holds the tests of the resolver against real registries: Debian's docker-registry 2.8, distribution
// v3 and go-containerregistry's, open and private, directly and behind a real nginx that hides what a resolver would like
// to see.
//
// It needs no Kubernetes, but the programs docker-registry and nginx, which it fetches from Debian where the machine has
// none. Everything runs on loopback and ends with the tests.
package registries
