// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestDumbTerminal checks that a terminal that can't erase a line shows no progress.
func TestDumbTerminal(t *testing.T) {
	stderr, err := os.Open("/dev/ptmx")
	if err != nil {
		t.Skip("this machine has no terminal to open: ", err)
	}
	defer func() { _ = stderr.Close() }()
	for term, want := range map[string]bool{"dumb": false, "xterm": true} {
		t.Setenv("TERM", term)
		if got := newTerminal(nil, nil, stderr).messages.isTerminal; got != want {
			t.Errorf("isTerminal with TERM=%s = %t, want %t", term, got, want)
		}
	}
}

// TestProgress checks that commands with many lookups show on a terminal how far they are, and
// remove that before they print the result.
func TestProgress(t *testing.T) {
	host, _ := busy(t, 0, 0, "")
	manifest := "{apiVersion: v1, kind: Pod, spec: {containers: [{name: a, image: \"" + host +
		"/app:1\"}, {name: b, image: \"" + host + "/app:2\"}]}}\n"
	for _, tt := range []struct{ command, stdin string }{
		{"pin", manifest},
		{"resolve", host + "/app:1\n" + host + "/app:2\n"},
	} {
		for _, isTerminal := range []bool{true, false} {
			var shown bytes.Buffer
			m := &messages{w: &shown, printable: &shown, fd: -1, isTerminal: isTerminal}
			root := newRoot(terminal{
				in: strings.NewReader(tt.stdin), out: &shown, err: m, raw: &shown, messages: m,
				program: programName,
			})
			root.SetArgs([]string{tt.command, "-"})
			if err := root.ExecuteContext(t.Context()); err != nil {
				t.Fatalf("%s: %v", tt.command, err)
			}
			progress, result, _ := strings.Cut(shown.String(), "looking up images: 2 of 2"+eraseLine)
			if !isTerminal {
				progress, result = result, progress
			}
			if strings.Contains(progress, "looking up") != isTerminal ||
				!strings.Contains(result, emptyDigest) || strings.Contains(result, "looking up") {
				t.Errorf("%s with a terminal: %t prints %q", tt.command, isTerminal, shown.String())
			}
		}
	}
}
