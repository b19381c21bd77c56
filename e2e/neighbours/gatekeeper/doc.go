// SPDX-License-Identifier: Apache-2.0

// Package gatekeeper tests tagpin beside Gatekeeper: its webhooks, which change and refuse objects,
// and its audit. It is installed from the manifest of its module.
package gatekeeper
