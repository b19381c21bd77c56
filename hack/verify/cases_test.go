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

// The number of rows of each table of e2e/README.md.
const (
	rowsOfAdmissions = 30
	rowsOfTenants    = 54
)

// heldBy finds a folder, which may be that of the test named before it, a test and a subtest.
var heldBy = regexp.MustCompile("`(?:([a-z0-9/-]+) )?(Test[A-Za-z0-9]+)(?:/([a-z0-9-]+))?`")

// tableRow finds the rows of both tables: A01, T01.
var tableRow = regexp.MustCompile(`^\| ([AT])(\d\d) \|`)

// TestCasesAreHeld: each row of e2e/README.md names tests that are there.
func TestCasesAreHeld(t *testing.T) {
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
			t.Errorf("row %s%s is number %d of its table", m[1], m[2], rows[m[1]])
		}
		cells := strings.Split(strings.TrimSpace(line), " | ")
		for _, fault := range found.missing(strings.TrimSuffix(cells[len(cells)-1], " |")) {
			t.Errorf("%s%s: %s", m[1], m[2], fault)
		}
	}
	got := [2]int{rows["A"], rows["T"]}
	if want := [2]int{rowsOfAdmissions, rowsOfTenants}; got != want {
		t.Errorf("rows of admissions and of tenants: %d, want %d", got, want)
	}
}

// tests are the tests of the repository, as "folder TestName", and the texts in each folder's files,
// among which the names of subtests have to be.
type tests struct {
	names, texts map[string]bool
}

// attacks is the folder of what several packages have subtests of.
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

// missing says what is wrong with the last cell of a row: nothing if all its tests are there.
func (f tests) missing(cell string) (faults []string) {
	held := heldBy.FindAllStringSubmatch(cell, -1)
	if len(held) == 0 || held[0][1] == "" {
		return []string{"no test, or none with its folder: " + cell}
	}
	if strings.Count(cell, "`") != 2*len(held) {
		faults = append(faults, "something that is no test: "+cell)
	}
	folder := ""
	for _, m := range held {
		if m[1] != "" {
			folder = m[1]
		}
		if !f.names[folder+" "+m[2]] {
			faults = append(faults, "there is no "+m[2]+" in "+folder)
		}
		if sub := m[3]; sub != "" && !f.texts[folder+" "+sub] && !f.texts[attacks+" "+sub] {
			faults = append(faults, "there is no "+sub+" of "+m[2]+" in "+folder)
		}
	}
	return faults
}

// TestMissingTestsAreFound has rows whose tests are gone.
func TestMissingTestsAreFound(t *testing.T) {
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
