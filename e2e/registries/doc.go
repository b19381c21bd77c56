// SPDX-License-Identifier: Apache-2.0

// Package registries tests the resolver against real registries: Debian's docker-registry 2.8,
// distribution v3 and go-containerregistry's, open and private, directly and behind proxies that
// hide what a resolver would like to see.
//
// It needs no Kubernetes. The program docker-registry comes from Debian if the machine has none.
// Everything runs on loopback and ends with the tests.
package registries
