// SPDX-License-Identifier: Apache-2.0

// Package registries tests the resolver against real registries, open and private, directly and
// behind proxies that hide what a resolver would like to see. The registries are distribution 2.7,
// Debian's docker-registry 2.8, distribution v3, those of go-containerregistry and ociregistry, and
// Gitea's, which has a token server of its own.
//
// It needs no Kubernetes. docker-registry comes from Debian if the machine has none, and the other
// programs are built from the module e2e/programs. Programs are behind a server with TLS that
// records the requests. Everything runs on loopback and ends with the tests.
//
// Each registry has a password of its own. At the end, no password and no token may be in what
// tagpin has written, nor in a request to another registry or its realm.
package registries
