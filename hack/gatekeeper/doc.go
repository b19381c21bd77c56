// SPDX-License-Identifier: Apache-2.0

// Package gatekeeper tests deploy/policies/gatekeeper.yaml with gator, the tool of Gatekeeper. It
// is a separate module, because Gatekeeper has many dependencies.
package gatekeeper
