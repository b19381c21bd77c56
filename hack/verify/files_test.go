// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// files returns the tracked and new files below root that git does not ignore.
func files(t *testing.T) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others",
		"--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(out))
	return slices.DeleteFunc(names, func(name string) bool {
		_, err := os.Lstat(filepath.Join(root, name))
		return err != nil // the file was deleted, but that was not committed yet
	})
}

// topLevel are the files and folders that may be at the top level, besides hidden ones.
var topLevel = []string{
	"cmd", "pkg", "deploy", "hack", "e2e",
	"go.mod", "go.sum", "Dockerfile", "Makefile", "README.md", "LICENSE",
}

func TestTopLevel(t *testing.T) {
	for _, name := range files(t) {
		top, _, _ := strings.Cut(name, "/")
		if !strings.HasPrefix(top, ".") && !slices.Contains(topLevel, top) {
			t.Errorf("%s: %s must not be at the top level", name, top)
		}
	}
}

// goFiles parses each Go file of the repository and calls check with it.
func goFiles(t *testing.T, check func(name, text string, set *token.FileSet, file *ast.File)) {
	t.Helper()
	for _, name := range files(t) {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		check(name, string(text), set, file)
	}
}

const spdx = "// SPDX-License-Identifier: Apache-2.0\n\n"

func TestEveryGoFileNamesTheLicense(t *testing.T) {
	goFiles(t, func(name, text string, _ *token.FileSet, _ *ast.File) {
		if !strings.HasPrefix(text, spdx) && !strings.HasPrefix(text, "// Code generated") {
			t.Errorf("%s does not begin with the SPDX line and an empty line", name)
		}
	})
}

const maxLines = 60 // the maximum number of lines of a function

func TestFunctions(t *testing.T) {
	goFiles(t, func(name, _ string, set *token.FileSet, file *ast.File) {
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || strings.HasSuffix(name, "_test.go") {
				continue
			}
			if n := set.Position(f.End()).Line - set.Position(f.Pos()).Line + 1; n > maxLines {
				t.Errorf("%s: %s has %d lines, want at most %d", name, f.Name.Name, n, maxLines)
			}
			if f.Name.Name == "init" && f.Recv == nil {
				t.Errorf("%s: it has an init function; call the code from main or a constructor", name)
			}
			if f.Name.IsExported() && f.Doc == nil && exportedReceiver(f) {
				t.Errorf("%s: %s has no doc comment", name, f.Name.Name)
			}
		}
	})
}

// exportedReceiver reports whether f is not a method or its receiver has an exported type.
func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	typ := f.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	name, ok := typ.(*ast.Ident)
	return ok && name.IsExported()
}

var goDirective = regexp.MustCompile(`(?m)^go (\S+)$`)

// TestOneGoVersion checks that all modules and the Dockerfile use the same version of Go.
func TestOneGoVersion(t *testing.T) {
	want := ""
	for _, name := range files(t) {
		if filepath.Base(name) != "go.mod" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		match := goDirective.FindSubmatch(text)
		if match == nil {
			t.Errorf("%s has no go directive", name)
			continue
		}
		if want == "" {
			want = string(match[1])
		}
		if got := string(match[1]); got != want {
			t.Errorf("%s: Go version = %s, want %s as in the other modules", name, got, want)
		}
		if name == "go.mod" && strings.Contains(string(text), "\nreplace ") {
			t.Error("go.mod has a replace directive, with which go install does not work")
		}
	}
	docker, err := fs.ReadFile(os.DirFS(root), "Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(docker), "golang:"+want) {
		t.Errorf("Dockerfile does not build with golang:%s", want)
	}
}

// TestReadmeIsShort limits the length of the README, so that people read all of it.
func TestReadmeIsShort(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	const most = 700
	if words := len(strings.Fields(string(text))); words > most {
		t.Errorf("README.md has %d words, want at most %d", words, most)
	}
}

var link = regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)

// TestLinks checks that links between documents lead to existing files.
func TestLinks(t *testing.T) {
	for _, name := range files(t) {
		if !strings.HasSuffix(name, ".md") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s has a link to %s, which does not exist", name, m[1])
			}
		}
	}
}
