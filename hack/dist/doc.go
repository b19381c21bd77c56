// SPDX-License-Identifier: Apache-2.0

// Package dist tests what people get from this repository without a cluster: the files of a
// release, with krew and kubectl; the completion of shells; the hooks for pre-commit, and the files
// for CI systems; and the files in .github, by which this project is maintained. The test of a
// release takes long, so that it has the build tag release, and runs by make test-release.
//
// This is a separate module, because kubectl, krew, Tekton and actionlint have many dependencies.
package dist
