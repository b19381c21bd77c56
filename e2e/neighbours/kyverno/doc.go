// SPDX-License-Identifier: Apache-2.0

// Package kyverno tests tagpin beside Kyverno, whose policies change and refuse objects, and can
// also replace tags by digests. It is installed from the manifest of its module.
package kyverno
