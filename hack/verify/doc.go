// SPDX-License-Identifier: Apache-2.0

// Package verify holds the rules of this repository as tests: which package may import which, what stands at the top
// level, what every file begins with. It has no code of its own.
//
//	go test ./hack/verify
package verify
