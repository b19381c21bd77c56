// SPDX-License-Identifier: Apache-2.0

package printable_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/tagpin/tagpin/pkg/printable"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"plain, with Umläut and …": "plain, with Umläut and …",
		"\x1b[31mred\x07":          `\u001b[31mred\u0007`,
		"a\r\nb\tc":                `a\u000d\u000ab\u0009c`,
		"\u009b2J":                 `\u009b2J`, // the same as Escape and [
		"\x9b2J":                   `\x9b2J`,
		"app\u202egpj.exe":         `app\u202egpj.exe`,
		"a\u2028b\u200bc\ufeff":    `a\u2028b\u200bc\ufeff`,
		"\U000e0001":               `\udb40\udc01`,
		"\x7f":                     `\u007f`,
		"half \xe2\x80":            `half \xe2\x80`,
		"\ufffd":                   "\ufffd",
		"::a":                      "::a",
		"a##[stop-commands]x":      `a##\u005bstop-commands]x`,
		"###[a ##vso[b ##VSO[c":    `###\u005ba ##vso\u005bb ##VSO\u005bc`,
		"# #[a ##v[ ##vso #vso[":   "# #[a ##v[ ##vso #vso[",
		"##vs##[":                  `##vs##\u005b`,
	} {
		if got := printable.Text(in); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestWriter(t *testing.T) {
	for in, want := range map[string]string{
		"a\tb\n\nc":          "a\tb\n\nc",
		"dos\r\nline\r\n":    "dos\r\nline\r\n",
		"over\rwritten":      `over\u000dwritten`,
		"\x1b]0;title\x07\n": `\u001b]0;title\u0007` + "\n",
		"…\u202e…":           `…\u202e…`,
		"::a::b\na::b\n":     `:\u003aa::b` + "\na::b\n",
		"a\r\n \t ::b\n: :c": "a\r\n \t " + `:\u003ab` + "\n: :c",
		"a##[b\n##vso[c":     `a##\u005bb` + "\n" + `##vso\u005bc`,
	} {
		for size := 1; size <= len(in); size++ {
			var got bytes.Buffer
			w := printable.NewWriter(&got)
			for rest := []byte(in); len(rest) > 0; rest = rest[min(size, len(rest)):] {
				part := rest[:min(size, len(rest))]
				if n, err := w.Write(part); n != len(part) || err != nil {
					t.Fatalf("Write(%q) = %d, %v, want all of it", part, n, err)
				}
			}
			if got.String() != want {
				t.Errorf("%q in writes of %d bytes = %q, want %q", in, size, got.String(), want)
			}
		}
	}
}

// TestWriterKeepsJSON checks that JSON has the same values after it was written.
func TestWriterKeepsJSON(t *testing.T) {
	const text = "::a ##[b ##vso[c \x1b[1m \u202e \u009b \U000e0001 \x7f \n \\"
	var got strings.Builder
	if err := json.NewEncoder(printable.NewWriter(&got)).Encode(text); err != nil {
		t.Fatal(err)
	}
	var back string
	if err := json.Unmarshal([]byte(got.String()), &back); err != nil || back != text {
		t.Errorf("%s = %q, %v, want %q", got.String(), back, err, text)
	}
}

// TestCommandWriter checks that commands pass, and that their values begin no others.
func TestCommandWriter(t *testing.T) {
	var got strings.Builder
	text := "::error file=##[a::##vso[b\x1b\n::error::c\n"
	_, err := printable.NewCommandWriter(&got).Write([]byte(text))
	const want = `::error file=##\u005ba::##vso\u005bb\u001b` + "\n::error::c\n"
	if got.String() != want || err != nil {
		t.Errorf("Write = %q, %v, want %q", got.String(), err, want)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriterError(t *testing.T) {
	if _, err := printable.NewWriter(full{}).Write([]byte("a")); err == nil {
		t.Error("Write to a full disk = nil, want the error")
	}
}

// command matches the beginnings of commands within a line.
var command = regexp.MustCompile(`(?i)##(vso)?\[`)

func FuzzText(f *testing.F) {
	f.Add("a\x1b\u202e\xff")
	f.Fuzz(func(t *testing.T, in string) {
		got := printable.Text(in)
		isOdd := func(r rune) bool { return !unicode.IsPrint(r) }
		if strings.ContainsFunc(got, isOdd) {
			t.Errorf("Text(%q) = %q, want nothing that is not printable", in, got)
		}
		if utf8.ValidString(in) && !strings.ContainsFunc(in, isOdd) && !command.MatchString(in) &&
			got != in {
			t.Errorf("Text(%q) = %q, want it unchanged", in, got)
		}
	})
}
