// SPDX-License-Identifier: Apache-2.0

// Package observability tests the alerts and the dashboard of deploy/chart/files by Prometheus' own packages: that it takes
// the rules, when they fire, that what they name is measured, and that their runbooks are written. Its module is of its
// own, for what Prometheus depends on.
package observability
