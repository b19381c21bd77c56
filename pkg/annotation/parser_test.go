// SPDX-License-Identifier: Apache-2.0

package annotation_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/annotation"
	"github.com/tagpin/tagpin/pkg/ref"
)

// TestParser tests that a Parser says what Parse says, at first and when it remembers.
func TestParser(t *testing.T) {
	texts := []string{"", " ", "nginx", "Nginx", "a:1", "a:2", "docker.io/library/nginx", "a" + d1, strings.Repeat("a", ref.MaxLength+1)}
	for name, parser := range map[string]*annotation.Parser{"nil": nil, "zero": {}} {
		for range 2 {
			for _, text := range texts {
				want, wantErr := ref.Parse(text)
				got, err := parser.Parse(text)
				if got != want || fmt.Sprint(err) != fmt.Sprint(wantErr) {
					t.Errorf("%s Parser: Parse(%.50q) = %v, %v, want %v, %v", name, text, got, err, want, wantErr)
				}
			}
		}
	}
}

// TestParserRemembers tests that a text which was parsed before costs no allocation, and that no
// more than 1,024 are remembered, none of which holds the text that it was a part of.
func TestParserRemembers(t *testing.T) {
	var parser annotation.Parser
	if n := testing.AllocsPerRun(100, func() { _, _ = parser.Parse("registry.example/a:1") }); n > 0 {
		t.Errorf("parsing a text again makes %v allocations, want none", n)
	}
	for i := range 5000 {
		text := fmt.Sprintf("registry.example/%d:%s%s", i, strings.Repeat("t", 100), strings.Repeat(" ", 64<<10))
		if _, err := parser.Parse(strings.TrimRight(text, " ")); err != nil {
			t.Fatal(err)
		}
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 16<<20 {
		t.Errorf("a Parser that has parsed 5,000 texts holds %d bytes, want at most 16 MiB", m.HeapAlloc)
	}
	runtime.KeepAlive(&parser)
}

// TestParserOfLongText tests that a text that is too long to be a reference is not copied.
func TestParserOfLongText(t *testing.T) {
	text := strings.Repeat("a/", 1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := new(annotation.Parser).Parse(text)
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; err == nil || got > 64<<10 {
		t.Errorf("Parse of 2 MiB: %.100v, %d bytes allocated, want an error and at most 64 KiB", err, got)
	}
}
