// SPDX-License-Identifier: Apache-2.0

// Package chart tests deploy/chart and deploy/kustomize with a real API server. It accepts the
// manifests for all test values, both versions of Helm install, update and remove a release in the
// right order, and tagpin has exactly the permissions that it needs.
package chart
