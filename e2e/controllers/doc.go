// SPDX-License-Identifier: Apache-2.0

// Package controllers tests tagpin before the real controllers of Kubernetes: kube-controller-manager and kube-scheduler,
// with kwok in place of kubelets. What they make of a pinned object, and what of theirs is left alone, is what can break a
// cluster: ReplicaSets without end, pods that are made again for ever, Jobs that can't be changed.
package controllers
