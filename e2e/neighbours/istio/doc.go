// SPDX-License-Identifier: Apache-2.0

// Package istio tests tagpin beside Istio, whose webhook adds its proxy to pods. The tests install
// what istioctl prints, and run Istio's control plane as a process of this machine.
//
// The version is a commit, because Go can download no release of Istio.
package istio
