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
		for _, other := range []string{
			"", "dev", "unknown", "(devel)", "0123456789ab", "0123456789ab-dirty", a, a + "+dirty",
		} {
			if newer(a, other) || newer(other, a) {
				t.Errorf("newer(%s, %s), or the reverse, = true, want false", a, other)
			}
		}
	}
}

// TestYields checks which server may replace whose rules in an upgrade, in a rollback, and if the
// order of the versions is unknown.
func TestYields(t *testing.T) {
	before, after := writer{"v1.0.0", "r/tagpin:1"}, writer{"v1.1.0", "r/tagpin:2"}
	for name, tt := range map[string]struct {
		wrote, next writer
		wanted      string
		want        bool
	}{
		"no server wrote":                           {writer{}, before, "", true},
		"upgrade, new server":                       {before, after, "r/tagpin:2", true},
		"upgrade, old server writes last":           {after, before, "r/tagpin:2", false},
		"upgrade, the new server does not start":    {before, before, "r/tagpin:2", true},
		"upgrade, old server, nothing written yet":  {writer{}, before, "r/tagpin:2", true},
		"rollback, old server":                      {after, before, "r/tagpin:1", true},
		"rollback, new server writes last":          {before, after, "r/tagpin:1", false},
		"rollback, the old server is not there yet": {after, after, "r/tagpin:1", true},
		"the same version":                          {before, before, "r/tagpin:1", true},
		"manifests without an image, newer":         {before, after, "", true},
		"manifests without an image, older":         {after, before, "", false},
		"image from an overlay, older":              {writer{"v1.1.0", "r/tagpin:1"}, before, "r/tagpin:1", false},
		"another image in the manifests, older":     {after, before, "r/tagpin:3", false},
		"versions without a number":                 {writer{version: "0123456789ab"}, writer{version: "ba9876543210"}, "", true},
		"versions without a number, by image":       {writer{"ba9876543210", "i2"}, writer{"0123456789ab", "i1"}, "i2", false},
	} {
		if got := tt.wrote.yields(tt.next, tt.wanted); got != tt.want {
			t.Errorf("%s: %v yields to %v = %t, want %t", name, tt.wrote, tt.next, got, tt.want)
		}
		if got := parseWriter(tt.wrote.String()); got != tt.wrote {
			t.Errorf("parseWriter(%q) = %v, want %v", tt.wrote, got, tt.wrote)
		}
	}
}
