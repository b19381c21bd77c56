// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"go/ast"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// testName matches the name of a test in a row: an optional folder, a test and an optional subtest.
// Without a folder, the test is in the same folder as the previous one of the row.
var testName = regexp.MustCompile("`(?:([a-z0-9/-]+) )?(Test[A-Za-z0-9]+)(?:/([a-z0-9-]+))?`")

// tableRow matches the rows of both tables. They begin with a number such as A01 or T01.
var tableRow = regexp.MustCompile(`^\| ([AT])(\d\d) \|`)

// TestCasesHaveTests checks that every row of e2e/README.md names existing tests.
func TestCasesHaveTests(t *testing.T) {
	found := findTests(t)
	text, err := os.ReadFile(filepath.Join(root, "e2e", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	for line := range strings.Lines(string(text)) {
		m := tableRow.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		rows[m[1]]++
		if number, _ := strconv.Atoi(m[2]); number != rows[m[1]] {
			t.Errorf("row %d of its table has the number %s%s", rows[m[1]], m[1], m[2])
		}
		cells := strings.Split(strings.TrimSpace(line), " | ")
		for _, fault := range found.missing(strings.TrimSuffix(cells[len(cells)-1], " |")) {
			t.Errorf("%s%s: %s", m[1], m[2], fault)
		}
	}
	if rows["A"] == 0 || rows["T"] == 0 {
		t.Errorf("rows of each table = %v, want some about admissions and some about tenants", rows)
	}
}

// tests has the tests of the repository and the strings in their files. The names of subtests must
// be among the strings.
type tests struct {
	names map[string]bool // "folder TestName"
	texts map[string]bool // "folder string"
}

// attacks is a folder with cases that several packages use as subtests.
const attacks = "e2e/attack"

func findTests(t *testing.T) tests {
	t.Helper()
	found := tests{names: map[string]bool{}, texts: map[string]bool{}}
	goFiles(t, func(name, _ string, _ *token.FileSet, file *ast.File) {
		folder := path.Dir(name)
		if !strings.HasSuffix(name, "_test.go") && folder != attacks {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && strings.HasSuffix(name, "_test.go") {
					found.names[folder+" "+n.Name.Name] = true
				}
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					found.texts[folder+" "+text] = true
				}
			}
			return true
		})
	})
	return found
}

// missing returns the mistakes in the last cell of a row. There are none if all its tests exist.
func (f tests) missing(cell string) (faults []string) {
	named := testName.FindAllStringSubmatch(cell, -1)
	if len(named) == 0 || named[0][1] == "" {
		return []string{"the cell does not begin with a folder and a test: " + cell}
	}
	if strings.Count(cell, "`") != 2*len(named) {
		faults = append(faults, "the cell has a name that is not a test: "+cell)
	}
	folder := ""
	for _, m := range named {
		if m[1] != "" {
			folder = m[1]
		}
		if !f.names[folder+" "+m[2]] {
			faults = append(faults, folder+" has no test "+m[2])
		}
		if sub := m[3]; sub != "" && !f.texts[folder+" "+sub] && !f.texts[attacks+" "+sub] {
			faults = append(faults, folder+" has no subtest "+sub+" of "+m[2])
		}
	}
	return faults
}

func TestMissing(t *testing.T) {
	found := tests{
		names: map[string]bool{"e2e/a TestOne": true, "pkg/b TestTwo": true},
		texts: map[string]bool{"e2e/a first": true, attacks + " second": true},
	}
	for cell, want := range map[string]int{
		"`e2e/a TestOne`, `pkg/b TestTwo`":                0,
		"`e2e/a TestOne/first`, `TestOne/second`":         0,
		"`e2e/a TestTwo`":                                 1,
		"`e2e/a TestOne/third`":                           1,
		"`TestOne`":                                       1,
		"some test":                                       1,
		"`e2e/a TestOne`, `the docs`":                     1,
		"`e2e/a TestGone/third`, `pkg/b TestTwo`, `gone`": 3,
	} {
		if got := found.missing(cell); len(got) != want {
			t.Errorf("missing(%s) = %q, want %d faults", cell, got, want)
		}
	}
}
