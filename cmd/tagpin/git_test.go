// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/manifest"
)

// TestGitContents checks that the contents of files are found in a commit, whether Git gets their
// paths or, since there are too many, lists all. Paths may have characters that mean something to
// Git elsewhere, and a file may be named twice.
func TestGitContents(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("Git is not installed")
	}
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	for _, n := range []int{0, 400} {
		top := t.TempDir()
		var files []*source
		add := func(name string) {
			path := filepath.Join(top, name)
			if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
				t.Fatal(err)
			}
			files = append(files, &source{fileName: fileName{path: path}})
		}
		for _, name := range []string{":(top)*.yaml", "*.yaml", "a b.yaml", "a b.yaml", "é.yaml", "a\tb\n.yaml"} {
			add(name)
		}
		for i := range n {
			add(fmt.Sprint(strings.Repeat("x", 50), i))
		}
		want := len(files)
		run := func(args ...string) {
			args = append([]string{"-c", "user.name=a", "-c", "user.email=a"}, args...)
			if _, err := git(t.Context(), top, nil, args...); err != nil {
				t.Fatal(err)
			}
		}
		run("init", "-q")
		run("add", ".")
		run("commit", "-q", "-m", "one")
		add("new.yaml")
		contents, unread, err := gitContents(t.Context(), top, "", files)
		if err != nil || unread != nil || len(contents) != want {
			t.Errorf("%d files: gitContents = %d contents, %v, %v, want %d", len(files), len(contents), unread, err, want)
		}
		for s, data := range contents {
			if name := filepath.Base(s.path); string(data) != name {
				t.Errorf("content of %q = %q, want its name", name, data)
			}
		}
	}
}

// TestBasePanic checks that a panic about the content of a file in the commit is an error with
// --base, and that without it the file has no pins there.
func TestBasePanic(t *testing.T) {
	good, bad := &source{fileName: fileName{path: "a"}}, &source{fileName: fileName{path: "b"}}
	contents := map[*source][]byte{good: nil, bad: nil}
	parse := func(s *source, _ []byte) (*manifest.File, error) {
		if s == bad {
			panic("odd")
		}
		return &manifest.File{}, nil
	}
	for base, want := range map[string]int{"": 0, "main": 1} {
		k, before := checking{base: base}, map[*source][]filePin{}
		errs := k.addBefore(before, contents, parse, newTerminal(nil, io.Discard, io.Discard))
		_, ok := before[good]
		if len(errs) != want || len(before) != 1 || !ok {
			t.Errorf("--base %q: addBefore = %v and %d files, want %d errors and one file", base, errs, len(before), want)
		}
	}
}

// TestShellWord checks that the path of a file is one word for a shell, and no flag.
func TestShellWord(t *testing.T) {
	for path, want := range map[string]string{
		"k8s/a-b.yaml": "k8s/a-b.yaml",
		"-a.yaml":      "./-a.yaml",
		"a b.yaml":     "'a b.yaml'",
		"$(x)'.yaml":   `'$(x)'\''.yaml'`,
		"~/a.yaml":     "'~/a.yaml'",
	} {
		if got := shellWord(path); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", path, got, want)
		}
	}
	if got := shellText("-a b"); got != "'-a b'" {
		t.Errorf("shellText(-a b) = %s, want it in quotes and otherwise unchanged", got)
	}
}
