// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tagpin/tagpin/"

// level is the level of each package. A package may only import packages of lower levels. A package
// in a folder of another package has the same level as that package.
var level = map[string]int{
	"pkg/ref": 0, "pkg/span": 0, "pkg/fair": 0, "pkg/panics": 0, "pkg/listen": 0,
	"pkg/jsonwalk": 0, "pkg/failure": 0, "pkg/printable": 0, "pkg/reminder": 0, "pkg/process": 0,
	"pkg/amount": 0, "pkg/chain": 0,
	"pkg/workload": 1, "pkg/cache": 1, "pkg/reload": 1,
	"pkg/keychain": 2, "pkg/registration": 2, "pkg/certificate": 2, "pkg/annotation": 2,
	"pkg/policy": 3, "pkg/registrar": 3, "pkg/registry": 3,
	"pkg/resolve": 4,
	"pkg/pin":     5, "pkg/image": 5,
	"pkg/sibling": 6, "pkg/admit": 6, "pkg/manifest": 6, "pkg/audit": 6,
	"pkg/config": 6, // only commands may import it
	"cmd/tagpin": 7, "cmd/tagpin-webhook": 7,
	"hack": 8,
}

// goPackage has the fields of a package in the output of go list.
type goPackage struct {
	ImportPath string
	Name, Doc  string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	args = append([]string{"list", "-json=ImportPath,Name,Doc,Imports,Deps"}, args...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		exit := new(exec.ExitError)
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var packages []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return packages
		case err != nil:
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// owner returns the package in level that the package at path belongs to. ok is false if path is
// not in this module.
func owner(path string) (name string, ok bool) {
	rest, found := strings.CutPrefix(path, module)
	if !found {
		return "", false
	}
	parts := strings.Split(rest, "/")
	if parts[0] == "hack" || len(parts) < 2 {
		return parts[0], true
	}
	return parts[0] + "/" + parts[1], true
}

// wrongEdge returns what is wrong with an import, or "" if it is allowed.
func wrongEdge(from, to string) string {
	a, _ := owner(from)
	b, ours := owner(to)
	if !ours || a == b {
		return ""
	}
	la, ok := level[a]
	if !ok {
		return fmt.Sprintf("%s has no level: add it in imports_test.go", from)
	}
	lb, ok := level[b]
	switch {
	case !ok:
		return fmt.Sprintf("%s has no level: add it in imports_test.go", to)
	case lb >= la:
		return fmt.Sprintf("%s imports %s, which does not have a lower level", from, to)
	}
	return ""
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range list(t, "./...") {
		for _, i := range p.Imports {
			if wrong := wrongEdge(p.ImportPath, i); wrong != "" {
				t.Error(wrong)
			}
		}
	}
}

func TestWrongEdge(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		wrong    bool
	}{
		{"pkg/pin", "pkg/resolve", false},
		{"pkg/resolve", "pkg/pin", true},
		{"pkg/keychain", "pkg/registry", true},
		{"pkg/keychain/cluster", "pkg/keychain", false},
		{"pkg/keychain/cluster", "pkg/workload", false},
		{"pkg/admit", "pkg/config", true},
		{"cmd/tagpin", "pkg/config", false},
		{"pkg/new", "pkg/ref", true},
		{"pkg/ref", "pkg/new", true},
	} {
		if got := wrongEdge(module+tt.from, module+tt.to); (got != "") != tt.wrong {
			t.Errorf("wrongEdge(%s, %s) = %q, want wrong %t", tt.from, tt.to, got, tt.wrong)
		}
	}
}

// TestCommandLineToolIsLight keeps the webhook's libraries out of the command-line tool. Of
// client-go it has what reads a kubeconfig and sends requests, and not the clients of all groups.
func TestCommandLineToolIsLight(t *testing.T) {
	for _, p := range list(t, "./cmd/...") {
		if p.ImportPath != module+"cmd/tagpin" {
			continue
		}
		for _, dep := range p.Deps {
			for _, heavy := range []string{
				"sigs.k8s.io/controller-runtime", "k8s.io/client-go/kubernetes",
				"k8s.io/client-go/informers", "k8s.io/client-go/dynamic", "k8s.io/client-go/discovery",
				"github.com/google/go-containerregistry/pkg/authn/k8schain",
				"go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/exporters",
			} {
				if strings.HasPrefix(dep, heavy) {
					t.Errorf("cmd/tagpin links %s", dep)
				}
			}
		}
	}
}

// TestServerIsSmall keeps text/template out of tagpin-webhook. It calls methods by their names, so
// that the linker would keep all exported methods, which are more than 30 MB.
func TestServerIsSmall(t *testing.T) {
	for _, p := range list(t, "./cmd/tagpin-webhook") {
		if slices.Contains(p.Deps, "text/template") {
			t.Errorf("%s links text/template", p.ImportPath)
		}
	}
}

func TestPackageDocs(t *testing.T) {
	for _, p := range list(t, "./...") {
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = ""
		}
		if p.Doc == "" || !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s: package doc %q, want one that begins with %q", p.ImportPath, p.Doc, want)
		}
	}
}
