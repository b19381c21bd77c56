// SPDX-License-Identifier: Apache-2.0

// Package chart tests deploy/chart and deploy/kustomize on a real API server: every values case is taken by it, both
// versions of Helm install, update and remove a release in the right order, and what tagpin may do is what it needs.
package chart
