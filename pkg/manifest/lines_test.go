// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestLines converts every offset to a line and a column and back. It also checks that the distance
// between two marks is limited.
func TestLines(t *testing.T) {
	for name, text := range map[string]string{
		"empty":           "",
		"short":           "a\nb",
		"ends":            "a\rb\r\nc\nd\u0085e\u2028f\u2029g\n\n\r",
		"byte order mark": "\uFEFFä: b\nc",
		"one line":        strings.Repeat("ä: b, ", 2000),
		"long lines":      strings.Repeat(strings.Repeat("äb€", 700)+"\r\n", 3),
		"as a stride": strings.Repeat("x", stride-1) + "\n" + strings.Repeat("x", stride) + "\n" +
			strings.Repeat("x", stride+1),
	} {
		t.Run(name, func(t *testing.T) {
			data := []byte(text)
			l := newLineIndex(data)
			line, column := 1, 1
			for at := len(text) - len(strings.TrimPrefix(text, string(bom))); at < len(data); {
				if gotLine, gotColumn := l.position(at); gotLine != line || gotColumn != column {
					t.Fatalf("position(%d) = %d:%d, want %d:%d", at, gotLine, gotColumn, line, column)
				}
				if got := l.offset(line, column); got != at {
					t.Fatalf("offset(%d, %d) = %d, want %d", line, column, got, at)
				}
				size, end := character(data[at:])
				at += size
				if column++; end {
					line, column = line+1, 1
				}
			}
			for i, m := range append(l.marks[1:], mark{offset: len(data)}) {
				if n := utf8.RuneCount(data[l.marks[i].offset:m.offset]); n > stride+1 { // CR LF is two runes
					t.Errorf("%d characters after mark %d, want at most %d", n, i, stride)
				}
			}
			if got := l.offset(line+1, 1); got != len(data) {
				t.Errorf("offset(%d, 1) = %d, want the length of the file, %d", line+1, got, len(data))
			}
		})
	}
}
