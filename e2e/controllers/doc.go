// SPDX-License-Identifier: Apache-2.0

// Package controllers tests tagpin with the real controllers of Kubernetes: kube-controller-manager
// and kube-scheduler, with kwok in place of kubelets. It checks what they do with pinned objects,
// and that tagpin leaves the controllers' own objects alone. Mistakes there can break a cluster:
// endless ReplicaSets, pods that are replaced for ever, Jobs that can't be changed.
package controllers
