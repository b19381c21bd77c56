// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"go/ast"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var heldBy = regexp.MustCompile("`(?:([a-z0-9/]+) )?(Test[A-Za-z0-9]+)`")

// TestCasesAreHeld: each row of e2e/README.md names tests that are there.
func TestCasesAreHeld(t *testing.T) {
	tests := map[string]bool{}
	goFiles(t, func(name, _ string, _ *token.FileSet, file *ast.File) {
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasSuffix(name, "_test.go") {
				tests[path.Dir(name)+" "+f.Name.Name] = true
			}
		}
	})
	text, err := os.ReadFile(filepath.Join(root, "e2e", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| A") {
			continue
		}
		rows++
		cells := strings.Split(line, "|")
		folder, held := "", heldBy.FindAllStringSubmatch(cells[len(cells)-2], -1)
		if len(held) == 0 || held[0][1] == "" {
			t.Errorf("%s: no test, or none with its folder", cells[1])
		}
		for _, m := range held {
			if m[1] != "" {
				folder = m[1]
			}
			if !tests[folder+" "+m[2]] {
				t.Errorf("%s: there is no %s in %s", cells[1], m[2], folder)
			}
		}
	}
	if rows != 30 {
		t.Errorf("%d rows, want 30", rows)
	}
}
