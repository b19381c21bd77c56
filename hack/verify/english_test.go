// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxColumns is the maximum length of a line in characters. A tab is one character.
const maxColumns = 100

// TestLineLength checks the length of lines. Raw string literals, and lines of tests that contain
// any string literal, may be longer, because test data is easier to read on one line. The packages
// whose names end in "test" are tests too.
func TestLineLength(t *testing.T) {
	goFiles(t, func(name, text string, set *token.FileSet, file *ast.File) {
		isTest := strings.HasSuffix(name, "_test.go") || strings.HasSuffix(path.Dir(name), "test")
		exempt := literalLines(set, file, isTest)
		for i, line := range strings.Split(text, "\n") {
			if n := utf8.RuneCountInString(line); n > maxColumns && !exempt[i+1] {
				t.Errorf("%s:%d: line of %d characters, want at most %d", name, i+1, n, maxColumns)
			}
		}
	})
}

// literalLines returns the numbers of the lines that contain a raw string literal, or with all any
// string literal.
func literalLines(set *token.FileSet, file *ast.File, all bool) map[int]bool {
	lines := map[int]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		literal, ok := n.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING || !all && literal.Value[0] != '`' {
			return true
		}
		for i := set.Position(literal.Pos()).Line; i <= set.Position(literal.End()).Line; i++ {
			lines[i] = true
		}
		return true
	})
	return lines
}

// obscurePhrases are phrases that make a sentence hard to understand.
var obscurePhrases = []string{
	"as good as none",
	"be it",
	"be they",
	"but for that",
	"but for the",
	"but for those",
	"for who",
	"have to be told",
	"is as none",
	"is as they are",
	"is told",
	"of now",
	"so many at a time",
	"that are none",
	"that is none",
	"to who",
	"what is none",
	"what is told",
	"where there is none",
	"who asks",
	"who decides",
	"who says",
}

// obscure finds an obscure phrase. A line break, with the slashes of a comment, counts as a space.
var obscure = regexp.MustCompile(`(?i)\b(` +
	strings.ReplaceAll(strings.Join(obscurePhrases, "|"), " ", `[\s/]+`) + `)\b`)

// TestPlainEnglish checks that comments and strings don't contain an obscure phrase.
func TestPlainEnglish(t *testing.T) {
	goFiles(t, func(name, _ string, set *token.FileSet, file *ast.File) {
		if path.Base(name) == "english_test.go" { // it lists the phrases
			return
		}
		check := func(at token.Pos, text string) {
			for _, phrase := range obscure.FindAllString(text, -1) {
				t.Errorf("%s: %q is hard to understand; say it in plain English",
					set.Position(at), phrase)
			}
		}
		for _, group := range file.Comments {
			var text strings.Builder
			for _, c := range group.List {
				text.WriteString(c.Text + "\n")
			}
			check(group.Pos(), text.String())
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				check(literal.Pos(), literal.Value)
			}
			return true
		})
	})
}

func TestObscure(t *testing.T) {
	for text, want := range map[string]bool{
		"A glob that is none matches nothing.": true,
		"// It is an answer, be\n// it good.":  true,
		"Maybe it works.":                      false,
		"The digest of nowhere.":               false,
	} {
		if got := obscure.MatchString(text); got != want {
			t.Errorf("obscure.MatchString(%q) = %t, want %t", text, got, want)
		}
	}
}
