// SPDX-License-Identifier: Apache-2.0

// Package whole shows that a cluster with tagpin runs the code that was deployed. Everything of
// Kubernetes is real, as package node runs it, tagpin runs in pods, and a program's answer shows
// which code it is.
//
//	cd e2e && CGO_ENABLED=0 go test -trimpath -count=1 ./whole
//
// The tests need Linux and root, and are skipped elsewhere.
package whole
