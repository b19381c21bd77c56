// SPDX-License-Identifier: Apache-2.0

// Package whole shows that a cluster with tagpin in it runs the code that was deployed: everything of Kubernetes is real,
// as package node runs it, tagpin are pods there, and what a program answers tells which code it is.
//
//	cd e2e && CGO_ENABLED=0 go test -trimpath -count=1 ./whole
//
// Its tests need Linux and root, and are skipped elsewhere.
package whole
