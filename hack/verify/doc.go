// SPDX-License-Identifier: Apache-2.0

// Package verify checks the rules of this repository. Its tests check which package may import
// which others, which files are at the top level, how every file begins, how long lines and
// functions are, and more. It only contains tests.
//
//	go test ./hack/verify
package verify
