// SPDX-License-Identifier: Apache-2.0

// Package observability tests the alerts and the dashboard in deploy/chart/files with the packages
// of Prometheus: the rules are valid, the alerts fire when they should, every metric in a query
// exists, and every alert has a runbook. The tests also run a tagpin-webhook, and check what the
// panels of the dashboard show of it. It is a separate module, because Prometheus has many
// dependencies.
package observability
