// SPDX-License-Identifier: Apache-2.0

package amount_test

import (
	"testing"

	"github.com/tagpin/tagpin/pkg/amount"
)

func TestAmounts(t *testing.T) {
	for n, want := range map[int]string{
		0: "0 files, 0 entries are left", 1: "1 file, 1 entry is left",
		12: "12 files, 12 entries are left",
	} {
		got := amount.Of(n, "file") + ", " + amount.Text(n, "entry is left", "entries are left")
		if got != want {
			t.Errorf("amounts of %d = %q, want %q", n, got, want)
		}
	}
}
