// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Each place is found by its line and column, and the other way round; from a mark there are few characters to count.
func TestLines(t *testing.T) {
	for name, text := range map[string]string{
		"empty":           "",
		"short":           "a\nb",
		"ends":            "a\rb\r\nc\nd\u0085e\u2028f\u2029g\n\n\r",
		"byte order mark": "\uFEFFä: b\nc",
		"one line":        strings.Repeat("ä: b, ", 2000),
		"long lines":      strings.Repeat(strings.Repeat("äb€", 700)+"\r\n", 3),
		"as a stride":     strings.Repeat("x", stride-1) + "\n" + strings.Repeat("x", stride) + "\n" + strings.Repeat("x", stride+1),
	} {
		t.Run(name, func(t *testing.T) {
			data := []byte(text)
			l := newLines(data)
			line, column := 1, 1
			for at := len(text) - len(strings.TrimPrefix(text, string(bom))); at < len(data); {
				if gotLine, gotColumn := l.position(at); gotLine != line || gotColumn != column || l.line(at) != line {
					t.Fatalf("position(%d) = %d:%d, line = %d, want %d:%d", at, gotLine, gotColumn, l.line(at), line, column)
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
				if n := utf8.RuneCount(data[l.marks[i].offset:m.offset]); n > stride+1 { // CR LF are two
					t.Errorf("%d characters behind mark %d, want %d at most", n, i, stride)
				}
			}
			if got := l.offset(line+1, 1); got != len(data) {
				t.Errorf("offset behind the last line = %d, want the end, %d", got, len(data))
			}
		})
	}
}
