// SPDX-License-Identifier: Apache-2.0

// Package helm tests tagpin beside Helm 3 and Helm 4, which install, upgrade and roll back a chart
// whose workloads tagpin pins. Package chart has the tests of tagpin's own chart.
package helm
