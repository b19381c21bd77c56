// SPDX-License-Identifier: Apache-2.0

// Package trail follows failed lookups from the pod that is denied to the cause, as a person does:
// the denial, the line of the log, the metric, and the command of the runbook, which looks the
// image up again. It plays each cause that a lookup may fail for.
//
// tagpin-webhook runs as a program. Its API server and the registries are servers in the test,
// which give the answers that real ones give in these cases. Everything runs on loopback.
//
// What was seen is the table in deploy/docs/troubleshooting.md. After a change, write it again, and
// read the diff:
//
//	go test ./trail -update
package trail
