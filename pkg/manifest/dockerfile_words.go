// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// word is a word of an instruction as the file has it, and where it begins.
type word struct {
	start int
	text  string
}

// wordsOf returns the words of an instruction except its name, by the texts that BuildKit's parser
// has of them. Of several with the same text, it returns the first one. It looks for them once: an
// instruction can have many images.
func (d *dockerfile) wordsOf(n *parser.Node) map[string]word {
	if d.byText == nil || d.byTextOf != n.StartLine {
		d.byText, d.byTextOf = map[string]word{}, n.StartLine
		for _, w := range d.words(n.StartLine, n.EndLine)[1:] {
			text := w.text
			if strings.HasPrefix(text, "--") {
				text = d.flag(text)
			}
			if _, known := d.byText[text]; !known {
				d.byText[text] = w
			}
		}
	}
	return d.byText
}

var notSpace = regexp.MustCompile(`\S+`)

// words returns the words of an instruction. Comments and empty lines can be between its lines.
func (d *dockerfile) words(first, last int) []word {
	var words []word
	for line := first; line <= last; line++ {
		start, end := d.lines[line-1], len(d.file.data)
		if line < len(d.lines) {
			end = d.lines[line] - 1
		}
		text := bytes.TrimRight(d.file.data[start:end], " \t\r")
		if line > first && bytes.HasPrefix(bytes.TrimLeft(text, " \t"), []byte("#")) {
			continue
		}
		text = bytes.TrimSuffix(text, []byte(d.escape))
		for _, at := range notSpace.FindAllIndex(text, -1) {
			words = append(words, word{start + at[0], string(text[at[0]:at[1]])})
		}
	}
	return words
}

// unquoted returns a text of FROM as the shell of BuildKit reads it. A text with variables stays as
// it is.
func (d *dockerfile) unquoted(text string) string {
	if variable(text) {
		return text
	}
	lex := shell.NewLex(rune(d.escape[0]))
	if unquoted, _, err := lex.ProcessWord(text, shell.EnvsFromSlice(nil)); err == nil {
		return unquoted
	}
	return text
}

// flag returns the text of a flag as BuildKit's parser has it: without its quotes, and with each
// byte as a character (extractBuilderFlags).
func (d *dockerfile) flag(text string) string {
	var flag strings.Builder
	quote := byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == d.escape[0]:
			if i++; i < len(text) {
				flag.WriteRune(rune(text[i]))
			}
		default:
			flag.WriteRune(rune(c))
		}
	}
	return flag.String()
}
