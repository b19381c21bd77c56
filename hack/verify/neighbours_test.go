// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"encoding/json"
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// neighbours is the folder of the tests of programs that run beside tagpin.
const neighbours = "e2e/neighbours"

// neighbourRow is a row of the results of a neighbour.
type neighbourRow struct{ Test, Done, Result, Settings string }

// TestNeighbours checks that each module in e2e/neighbours/programs has results, that these are of
// the versions in its go.mod, and that their rows are those that the tests record.
func TestNeighbours(t *testing.T) {
	recorded, modules := recordedRows(t), 0
	for _, name := range files(t) {
		if ok, _ := path.Match(neighbours+"/programs/*/go.mod", name); !ok {
			continue
		}
		modules++
		folder := path.Join(neighbours, path.Base(path.Dir(name)))
		var results struct {
			Modules map[string]string
			Checks  []neighbourRow
		}
		if err := json.Unmarshal([]byte(read(t, folder+"/results.json")), &results); err != nil {
			t.Fatal(err)
		}
		mod := read(t, name)
		for _, part := range files(t) {
			if ok, _ := path.Match(path.Dir(name)+"/*/go.mod", part); ok {
				mod += read(t, part)
			}
		}
		for module, version := range results.Modules {
			if got := required(mod, module); got != version {
				t.Errorf("%s has %s %s, and the results are of %s: run make test-neighbours",
					name, module, got, version)
			}
		}
		for _, row := range results.Checks {
			if !slices.Contains(recorded[folder], row) {
				t.Errorf("no test in %s records this row of its results: %+v", folder, row)
			}
		}
		for _, row := range recorded[folder] {
			if !slices.Contains(results.Checks, row) {
				t.Errorf("%s records a row that is not in the results: %+v: run make test-neighbours",
					folder, row)
			}
		}
		if len(results.Modules) == 0 || len(results.Checks) == 0 {
			t.Errorf("the results in %s name no module or no test", folder)
		}
	}
	if modules == 0 {
		t.Errorf("%s/programs has no module", neighbours)
	}
}

// recordedRows returns the rows that the tests of each folder record, as they are written in the
// tests: env.Record(t, neighbours.Check{Done: "…", Result: "…"}).
func recordedRows(t *testing.T) map[string][]neighbourRow {
	t.Helper()
	rows := map[string][]neighbourRow{}
	goFiles(t, func(name, _ string, _ *token.FileSet, file *ast.File) {
		folder := path.Dir(name)
		if path.Dir(folder) != neighbours || !strings.HasSuffix(name, "_test.go") {
			return
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				lit, ok := n.(*ast.CompositeLit)
				if ok && types.ExprString(lit.Type) == "neighbours.Check" {
					fields := literalFields(lit)
					rows[folder] = append(rows[folder], neighbourRow{
						f.Name.Name, fields["Done"], fields["Result"], fields["Settings"],
					})
				}
				return true
			})
		}
	})
	return rows
}

// literalFields returns the fields of a literal that are string literals.
func literalFields(lit *ast.CompositeLit) map[string]string {
	fields := map[string]string{}
	for _, element := range lit.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			if value, ok := pair.Value.(*ast.BasicLit); ok {
				fields[types.ExprString(pair.Key)], _ = strconv.Unquote(value.Value)
			}
		}
	}
	return fields
}

// required returns the version of a module in a go.mod, or "". A replacement counts more than what
// is required.
func required(mod, module string) string {
	quoted := regexp.QuoteMeta(module)
	for _, before := range []string{
		`(?m)^(?:replace)?\s+` + quoted + ` (?:v\S+ )?=> \S+ `, `(?m)^(?:require)?\s+` + quoted + ` `,
	} {
		if m := regexp.MustCompile(before + `(v\S+)`).FindStringSubmatch(mod); m != nil {
			return m[1]
		}
	}
	return ""
}

func TestRequired(t *testing.T) {
	mod := strings.Join([]string{
		"require example.com/one v1.0.0", "require (", "\texample.com/two v2.0.0 // indirect",
		"\texample.com/three v3.0.0", "\texample.com/four/v4 v4.0.0", ")",
		"replace example.com/three => example.com/fork v3.1.0", "replace (",
		"\texample.com/four/v4 v4.0.0 => example.com/four/v4 v4.1.0", ")",
	}, "\n")
	for module, want := range map[string]string{
		"example.com/one": "v1.0.0", "example.com/two": "v2.0.0", "example.com/three": "v3.1.0",
		"example.com/four/v4": "v4.1.0", "example.com/four": "", "example.com/fork": "",
	} {
		if got := required(mod, module); got != want {
			t.Errorf("required(%s) = %q, want %q", module, got, want)
		}
	}
}
