// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/tagpin/tagpin/pkg/image"
)

// TestLeftOut checks that --limit is advised only where a larger one would look up more tags.
func TestLeftOut(t *testing.T) {
	for _, tt := range []struct {
		found image.Tags
		want  string
	}{
		{image.Tags{Total: 5, Asked: 1}, "only 1 of 5 or more tags were looked up; see --limit"},
		{image.Tags{Total: 5, Asked: 5}, "the registry's list was read up to 5 tags"},
		{image.Tags{Total: 5}, "the registry's list was read up to 5 tags"},
	} {
		if got := leftOut(&tt.found); got != tt.want {
			t.Errorf("leftOut(%+v) = %q, want %q", tt.found, got, tt.want)
		}
	}
}
