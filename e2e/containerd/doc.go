// SPDX-License-Identifier: Apache-2.0

// Package containerd compares tagpin with a node. For each case of package registrytest, a real
// containerd pulls the image as the kubelet has it pull images, by the CRI, and tagpin resolves it.
// Where containerd pulls an image, tagpin must find the same digest, or a rule must say why not.
//
// The results are the table of pkg/registry/containerd.md, which the test compares with what it
// sees. If a difference is right, write the table again:
//
//	go test -run TestSameAsContainerd . -update
//
// Each case has a containerd of its own, so that nothing was pulled before. It needs Linux, root,
// and a Debian system, whose package it downloads. Everything runs on loopback and ends with the
// tests.
package containerd
