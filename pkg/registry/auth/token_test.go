// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"strings"
	"testing"
)

// TestTokenSize checks how large the answer of a token endpoint may be.
func TestTokenSize(t *testing.T) {
	for size, want := range map[int]bool{1: true, 4 << 10: true, 15 << 10: true, 17 << 10: false} {
		sent := strings.Repeat("t", size)
		token, _, err := ParseToken(strings.NewReader(`{"token":"` + sent + `"}`))
		if (err == nil) != want || want && token != sent {
			t.Errorf("token of %d bytes: got %d bytes, %v; want it: %t", size, len(token), err, want)
		}
	}
}
