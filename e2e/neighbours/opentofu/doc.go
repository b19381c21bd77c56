// SPDX-License-Identifier: Apache-2.0

// Package opentofu tests tagpin beside OpenTofu with HashiCorp's Kubernetes provider, whose typed
// resources, such as kubernetes_deployment, have images that tagpin pins.
//
// The provider is 1.13.4, the only version that Go can download: the module paths of later ones
// lack their major versions. That one has no kubernetes_manifest.
package opentofu
