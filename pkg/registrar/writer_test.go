// SPDX-License-Identifier: Apache-2.0

package registrar

import "testing"

func TestNewer(t *testing.T) {
	// Each is newer than those before it.
	order := []string{
		"v0.9.0", "v0.10.0-rc.1", "v0.10.0-rc.1-3-g0123456789ab", "v0.10.0-rc.2", "v0.10.0",
		"v0.10.0-4-g0123456789ab", "v0.10.0-12-gfedcba987654-dirty", "v0.10.1", "v1.0.0",
	}
	for i, a := range order {
		for j, b := range order {
			if got, want := newer(a, b), i > j; got != want {
				t.Errorf("newer(%s, %s) = %t, want %t", a, b, got, want)
			}
		}
		for _, other := range []string{"", "dev", "unknown", "(devel)", "0123456789ab", "0123456789ab-dirty", a, a + "+dirty"} {
			if newer(a, other) || newer(other, a) {
				t.Errorf("newer(%s, %s), or the other way round, want neither", a, other)
			}
		}
	}
}

// Who may write over whose rules: in an upgrade, a roll-back, and where nobody knows the order.
func TestYields(t *testing.T) {
	before, after := writer{"v1.0.0", "r/tagpin:1"}, writer{"v1.1.0", "r/tagpin:2"}
	for name, tt := range map[string]struct {
		wrote, next writer
		wanted      string
		want        bool
	}{
		"nobody wrote":                            {writer{}, before, "", true},
		"upgrade, the new one comes":              {before, after, "r/tagpin:2", true},
		"upgrade, the old one is last":            {after, before, "r/tagpin:2", false},
		"upgrade, the new one does not start":     {before, before, "r/tagpin:2", true},
		"upgrade, the old one wrote nothing yet":  {writer{}, before, "r/tagpin:2", true},
		"roll-back, the old one comes":            {after, before, "r/tagpin:1", true},
		"roll-back, the new one is last":          {before, after, "r/tagpin:1", false},
		"roll-back, the old one is not there yet": {after, after, "r/tagpin:1", true},
		"the same version":                        {before, before, "r/tagpin:1", true},
		"manifests that name no image, up":        {before, after, "", true},
		"manifests that name no image, down":      {after, before, "", false},
		"an image by an overlay, down":            {writer{"v1.1.0", "r/tagpin:1"}, before, "r/tagpin:1", false},
		"another image in the manifests, down":    {after, before, "r/tagpin:3", false},
		"versions without a number":               {writer{version: "0123456789ab"}, writer{version: "ba9876543210"}, "", true},
		"without a number, by image":              {writer{"ba9876543210", "i2"}, writer{"0123456789ab", "i1"}, "i2", false},
	} {
		if got := tt.wrote.yields(tt.next, tt.wanted); got != tt.want {
			t.Errorf("%s: %v yields to %v = %t, want %t", name, tt.wrote, tt.next, got, tt.want)
		}
		if got := parseWriter(tt.wrote.String()); got != tt.wrote {
			t.Errorf("parseWriter(%q) = %v, want %v", tt.wrote, got, tt.wrote)
		}
	}
}
