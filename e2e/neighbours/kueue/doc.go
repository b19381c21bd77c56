// SPDX-License-Identifier: Apache-2.0

// Package kueue tests tagpin beside Kueue, which makes Jobs and pods wait in queues, and changes
// them when they may start. It is installed from the manifests of its module.
package kueue
