// SPDX-License-Identifier: Apache-2.0

// Package flux tests tagpin beside Flux: source-controller reads a Git repository over HTTP, and
// kustomize-controller applies what is in it.
package flux
