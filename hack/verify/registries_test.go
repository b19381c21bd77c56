// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestRegistriesAreTested checks that each registry that e2e/registries runs is in
// deploy/docs/registries.yaml, and that what is there about tests exists.
func TestRegistriesAreTested(t *testing.T) {
	var all []struct {
		Registry, Program string
		Kinds, Rows       []string
		Limits, Configure string
	}
	d := yaml.NewDecoder(strings.NewReader(read(t, "deploy/docs/registries.yaml")))
	d.KnownFields(true)
	if err := d.Decode(&all); err != nil {
		t.Fatal(err)
	}
	kinds, rows := registryKinds(t), read(t, "pkg/registry/README.md")
	documented := map[string]bool{}
	for _, r := range all {
		if (r.Program == "") != (len(r.Kinds) == 0) || r.Registry == "" || r.Configure == "" {
			t.Errorf("%q: it needs a name, what to configure, and kinds if it has a program", r.Registry)
		}
		for _, kind := range r.Kinds {
			if documented[kind] = true; !kinds[kind] {
				t.Errorf("%s: e2e/registries has no kind %q", r.Registry, kind)
			}
		}
		for _, row := range r.Rows {
			if !strings.Contains(rows, "\n| "+row+" |") {
				t.Errorf("%s: pkg/registry/README.md has no row %s", r.Registry, row)
			}
		}
	}
	for kind := range kinds {
		if !documented[kind] {
			t.Errorf("no registry in deploy/docs/registries.yaml has the kind %q of e2e/registries", kind)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// registryKinds returns the keys of the variable kinds of e2e/registries.
func registryKinds(t *testing.T) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "", read(t, "e2e/registries/store_test.go"), 0)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "kinds" {
			return true
		}
		for _, e := range spec.Values[0].(*ast.CompositeLit).Elts {
			key := e.(*ast.KeyValueExpr).Key.(*ast.BasicLit)
			if name, err := strconv.Unquote(key.Value); err == nil {
				kinds[name] = true
			}
		}
		return false
	})
	if len(kinds) == 0 {
		t.Fatal("e2e/registries has no variable kinds")
	}
	return kinds
}
