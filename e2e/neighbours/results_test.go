// SPDX-License-Identifier: Apache-2.0

package neighbours

import (
	"flag"
	"path/filepath"
	"testing"
)

// TestCompare checks that rows are compared with those of a file, whatever their order is.
func TestCompare(t *testing.T) {
	a, b := Check{Test: "TestA", Done: "a", Result: "b"}, Check{Test: "TestB", Done: "c", Result: "d"}
	file := filepath.Join(t.TempDir(), "results.json")
	if err := (results{Checks: []Check{a, b}}).write(file); err != nil {
		t.Fatal(err)
	}
	changed := b
	changed.Settings = "x"
	for _, tt := range []struct {
		rows []Check
		same bool
	}{
		{[]Check{a, b}, true},
		{[]Check{b, a, b}, true},
		{[]Check{a}, false},
		{[]Check{a, changed}, false},
		{[]Check{a, b, changed}, false},
	} {
		if err := (results{Checks: tt.rows}).compare(file); (err == nil) != tt.same {
			t.Errorf("compare(%v) = %v, want no error: %t", tt.rows, err, tt.same)
		}
	}
}

// TestPartial checks which flags leave out tests, so that -update refuses them.
func TestPartial(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, ""},
		{[]string{"-test.run", "X"}, "-run"},
		{[]string{"-test.skip", "X"}, "-skip"},
		{[]string{"-test.list", "X"}, "-list"},
	} {
		flags := flag.NewFlagSet("test", flag.PanicOnError)
		for _, name := range []string{"test.run", "test.skip", "test.list"} {
			flags.String(name, "", "")
		}
		if err := flags.Parse(tt.args); err != nil {
			t.Fatal(err)
		}
		if got := partial(flags); got != tt.want {
			t.Errorf("partial(%v) = %q, want %q", tt.args, got, tt.want)
		}
	}
}
