// SPDX-License-Identifier: Apache-2.0

// Package printable shows text that others chose: what a registry, a cluster or a file says.
//
// A terminal obeys escape sequences, and bidirectional controls make it show another text than
// there is. So every character that Unicode does not call printable is written as in JSON, such as
// \u001b for Escape. A byte that is no UTF-8 is written as \x9b. JSON remains valid JSON with the
// same values.
//
// What runs a pipeline takes some text for a command. The runner of GitHub Actions does so with a
// line that begins with :: after spaces, and with ##[ anywhere in it; Azure Pipelines does with
// ##vso[. One character of each is escaped, too.
package printable

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text returns a text in one line: line breaks and tabs are escaped too. It is for what others
// chose within a line, since a line break there could make up another message.
func Text(s string) string {
	within := commands{other: true} // what the line begins with is before it
	escaped, _ := within.escape([]byte(s), true, func(rune) bool { return false })
	return string(escaped)
}

// NewWriter returns a writer that passes on lines of text with their line breaks and tabs, and
// escapes everything else that is not printable. A character may be split between two writes. It is
// safe for concurrent use.
func NewWriter(w io.Writer) io.Writer { return &writer{w: w} }

// NewCommandWriter is like NewWriter, for lines that are commands of GitHub Actions: they may begin
// with two colons.
func NewCommandWriter(w io.Writer) io.Writer {
	return &writer{w: w, commands: commands{own: true}}
}

type writer struct {
	mu       sync.Mutex
	w        io.Writer
	rest     []byte // the beginning of a character, or a carriage return, at the end of the last write
	commands commands
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text, rest := w.commands.escape(append(w.rest, p...), false, isLayout)
	w.rest = append([]byte(nil), rest...)
	if _, err := w.w.Write(text); err != nil {
		return 0, err
	}
	return len(p), nil
}

func isLayout(r rune) bool { return r == '\n' || r == '\t' }

// escape escapes what is not printable and for which passes is false, and what would complete a
// command. If final is false, rest is the end of the text whose meaning depends on what follows.
func (c *commands) escape(
	text []byte, final bool, passes func(rune) bool,
) (escaped, rest []byte) {
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case !final && (len(text) == 1 && r == '\r' || !utf8.FullRune(text)):
			return []byte(b.String()), text
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
			c.next(r)
		case c.next(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		case unicode.IsPrint(r), passes(r):
			b.WriteRune(r)
		case r == '\r' && len(text) > 1 && text[1] == '\n' && passes('\n'):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		text = text[size:]
	}
	return []byte(b.String()), nil
}
