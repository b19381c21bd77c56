// SPDX-License-Identifier: Apache-2.0

// Package kinds tests the files of deploy/templates: with the CRD of each kind's own project, a
// real API server that prunes fields by it, and the registration that tagpin-webhook manifests
// prints.
package kinds
