// SPDX-License-Identifier: Apache-2.0

package network

import "testing"

func TestCanonicalHost(t *testing.T) {
	for text, want := range map[string]struct{ https, http string }{
		"r.example":             {"r.example", "r.example"},
		"r.example.":            {"r.example", "r.example"},
		"r.example.:5000":       {"r.example:5000", "r.example:5000"},
		"R.Example":             {"r.example", "r.example"},
		"localhost":             {"localhost", "localhost"},
		"r.example:443":         {"r.example", "r.example:443"},
		"r.example:0443":        {"r.example", "r.example:443"},
		"r.example:80":          {"r.example:80", "r.example"},
		"r.example:0080":        {"r.example:80", "r.example"},
		"r.example:05000":       {"r.example:5000", "r.example:5000"},
		"r.example:00":          {"r.example:0", "r.example:0"},
		"10.0.0.1:443":          {"10.0.0.1", "10.0.0.1:443"},
		"[::1]":                 {"[::1]", "[::1]"},
		"[::1]:0443":            {"[::1]", "[::1]:443"},
		"[0:0:0:0:0:0:0:1]:443": {"[::1]", "[::1]:443"},
		"[2001:DB8::0001]:5000": {"[2001:db8::1]:5000", "[2001:db8::1]:5000"},
		"[::ffff:a00:1]":        {"10.0.0.1", "10.0.0.1"},
		"r.\u009bexample":       {"", ""},
		"r.example\u202e:5000":  {"", ""},
	} {
		if got := CanonicalHost(text, false); got != want.https {
			t.Errorf("CanonicalHost(%s, false) = %s, want %s", text, got, want.https)
		}
		if got := CanonicalHost(text, true); got != want.http {
			t.Errorf("CanonicalHost(%s, true) = %s, want %s", text, got, want.http)
		}
	}
}
