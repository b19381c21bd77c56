// SPDX-License-Identifier: Apache-2.0

// Package gatekeeper tests deploy/policies/gatekeeper.yaml by Gatekeeper's own tool, gator. Its module is of its own, for what
// Gatekeeper depends on.
package gatekeeper
