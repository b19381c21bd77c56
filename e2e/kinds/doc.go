// SPDX-License-Identifier: Apache-2.0

// Package kinds tests the files of deploy/templates: for each kind its project's own CRD, a real API server that prunes by it,
// and the registration that tagpin-webhook manifests prints.
package kinds
