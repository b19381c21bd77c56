// SPDX-License-Identifier: Apache-2.0

// Package amount writes how many things there are: 1 file, 2 files.
package amount

import "fmt"

// Of returns a number with a noun whose plural ends in s.
func Of(n int, noun string) string { return Text(n, noun, noun+"s") }

// Text returns a number with the words that follow it if it is 1, or any other number.
func Text(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}
