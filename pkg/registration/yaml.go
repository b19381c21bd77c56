// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"io"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// fill fills the holes of a template. A hole is a name in double braces, and values has the values
// by hole. If a hole is all that a line has, the line becomes the lines of its value, each with the
// hole's indentation, or is left out if the value is empty.
//
// Package text/template can call any method by its name, so that the linker would keep all exported
// methods. That would make tagpin-webhook half as large again.
func fill(template string, values map[string]string) string {
	var pairs []string
	for hole, value := range values {
		pairs = append(pairs, hole, value)
	}
	within := strings.NewReplacer(pairs...)
	var text strings.Builder
	for line := range strings.Lines(template) {
		value, alone := values[strings.TrimSpace(line)]
		switch {
		case !alone:
			text.WriteString(within.Replace(line))
		case value != "":
			n := strings.Index(line, "{{")
			text.WriteString(line[:n] + indent(n, value) + "\n")
		}
	}
	return text.String()
}

// write validates data and writes its texts.
func write(w io.Writer, data interface{ Validate() error }, texts ...func() string) error {
	if err := data.Validate(); err != nil {
		return err
	}
	for _, text := range texts {
		if _, err := io.WriteString(w, text()); err != nil {
			return err
		}
	}
	return nil
}

// items returns texts as the elements of a block list of YAML.
func items(texts []string) string {
	var list []string
	for _, text := range texts {
		list = append(list, "- "+indent(2, text))
	}
	return strings.Join(list, "\n")
}

// quoted returns the elements of a list in quotes.
func quoted(list []string) []string {
	texts := make([]string, len(list))
	for i, text := range list {
		texts[i] = strconv.Quote(text)
	}
	return texts
}

// words returns the elements of a list as YAML.
func words(list []string) string {
	texts := make([]string, len(list))
	for i, w := range list {
		texts[i] = word(w)
	}
	return strings.Join(texts, ", ")
}

// word returns a string as YAML. It is quoted if YAML would parse it as something else, such as *,
// off or 1234.
func word(w string) string {
	var parsed []any
	err := yaml.Unmarshal([]byte("["+w+"]"), &parsed)
	if err != nil || len(parsed) != 1 || parsed[0] != w {
		return strconv.Quote(w)
	}
	return w
}

// indent indents all lines of a text but the first, for a block of YAML.
func indent(n int, text string) string {
	return strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+strings.Repeat(" ", n))
}
