// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/tagpin/tagpin/pkg/printable"
)

// printDiff prints a diff of the files, and reports whether it is not empty.
func printDiff(files []*source, t terminal) (found bool, err error) {
	for _, s := range files {
		name := strings.TrimPrefix(filepath.ToSlash(s.file.Name), "/")
		before, after := quoteName("a/"+name), quoteName("b/"+name)
		if strings.Contains(name, " ") && !strings.HasPrefix(before, `"`) {
			before, after = before+"\t", after+"\t" // as Git does, so that patch knows where they end
		}
		d := diff.Diff(before, s.data, after, s.pinned)
		if len(d) == 0 {
			continue
		}
		found = true
		if _, err := t.raw.Write(d); err != nil {
			return found, err
		}
	}
	return found, nil
}

// quoteName returns the name of a file as a diff has it. A name that is not printable, or has a
// quote or a backslash, is quoted as Git does it, which patch knows too. Otherwise a line break in
// a name could make up a line of the diff, or a command of a pipeline.
func quoteName(name string) string {
	if printable.Text(name) == name && !strings.ContainsAny(name, `"\`) {
		return name
	}
	var quoted strings.Builder
	quoted.WriteByte('"')
	for i := range len(name) {
		switch c := name[i]; {
		case c == '"' || c == '\\':
			quoted.WriteString(`\` + string(c))
		case c < ' ' || c > '~' || c == '[': // ##[ begins a command
			fmt.Fprintf(&quoted, `\%03o`, c)
		default:
			quoted.WriteByte(c)
		}
	}
	return quoted.String() + `"`
}
