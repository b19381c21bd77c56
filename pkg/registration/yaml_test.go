// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"strings"
	"testing"
)

func TestFill(t *testing.T) {
	values := map[string]string{"{{one}}": "a", "{{lines}}": "- b\n- c\n", "{{none}}": ""}
	for _, tt := range []struct{ template, want string }{
		{"x: {{one}}, {{one}}\n", "x: a, a\n"},
		{"x:\n  {{lines}}\ny:\n", "x:\n  - b\n  - c\ny:\n"},
		{"x:\n  {{none}}\ny:\n", "x:\ny:\n"},
		{"x: [{{none}}]\n", "x: []\n"},
	} {
		if got := fill(tt.template, values); got != tt.want {
			t.Errorf("fill(%q) = %q, want %q", tt.template, got, tt.want)
		}
	}
}

// TestAllHolesAreFilled checks that no template has a hole without a value.
func TestAllHolesAreFilled(t *testing.T) {
	r, p := new(Registration), new(Policy)
	for name, text := range map[string]string{
		"registration": r.yaml(), "digests": p.digests(), "staleDigests": p.staleDigests(),
		"gatekeeper": p.gatekeeper(),
	} {
		if i := strings.Index(text, "{{"); i >= 0 {
			t.Errorf("%s has a hole without a value: %.30q", name, text[i:])
		}
	}
}
