// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
)

// TestSavedMeanwhile saves a file after it was read and before it is written.
func TestSavedMeanwhile(t *testing.T) {
	for name, save := range map[string]func(path string) error{
		"in place": func(path string) error { return os.WriteFile(path, []byte("saved"), 0o600) },
		"by rename": func(path string) error {
			return cmpError(os.WriteFile(path+".new", []byte("saved"), 0o600), os.Rename(path+".new", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.yaml")
			if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			s := source{fileName: fileName{path: path}, data: []byte("old"), pinned: []byte("new")}
			if err := save(path); err != nil {
				t.Fatal(err)
			}
			err := s.write()
			if err == nil || !strings.Contains(err.Error(), "saved by somebody else") {
				t.Errorf("write = %v, want an error that the file was saved", err)
			}
			if data, _ := os.ReadFile(path); string(data) != "saved" {
				t.Errorf("the file has %q, want what was saved", data)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".a.yaml*")); len(left) > 0 {
				t.Errorf("write left %v", left)
			}
		})
	}
}

func cmpError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestNoTemporaryFile checks that the message names the file if there is no room for another one.
func TestNoTemporaryFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("a", 250)) // a longer name is not possible
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := source{fileName: fileName{path: path}, data: []byte("old"), pinned: []byte("new")}
	err := s.write()
	if err == nil || !strings.HasPrefix(err.Error(), path+": it was not changed: ") {
		t.Errorf("write = %v, want an error that begins with the name of the file", err)
	}
}

// TestInterruptedReading checks that the files that were not read have no messages.
func TestInterruptedReading(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("a: b"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, command := range []string{"check", "pin"} {
		var out, errs bytes.Buffer
		code := run(ctx, []string{"tagpin", command, dir}, strings.NewReader(""), &out, &errs)
		if code != exitSignal || strings.Count(errs.String(), "\n") != 1 ||
			strings.Contains(errs.String(), "skipped") {
			t.Errorf("%s = %d, %q, want %d and one line", command, code, errs.String(), exitSignal)
		}
	}
}

// TestSARIF validates reports by the schema of SARIF 2.1.0.
func TestSARIF(t *testing.T) {
	for _, found := range [][]finding{
		{},
		{
			{
				File: "a b/%ü.yaml", Line: 1, Column: 2, Rule: ruleUnpinned, Image: "nginx",
				Message: "nginx is not pinned",
			},
			{
				File: "/abs/x.yaml", Line: 3, Column: 1, Rule: ruleEditedTag, Image: "x\x1b",
				Message: "x\x1b has the digest",
			},
		},
	} {
		var b bytes.Buffer
		if err := printSARIF(found, &b); err != nil {
			t.Fatal(err)
		}
		report, err := sarif.FromBytes(b.Bytes(), sarif.WithStrictValidation())
		if err != nil {
			t.Fatal(err)
		}
		if err := report.Validate(); err != nil {
			t.Errorf("the report is not valid: %v\n%s", err, b.Bytes())
		}
		if n := len(report.Runs[0].Results); n != len(found) {
			t.Errorf("the report has %d results, want %d", n, len(found))
		}
		if len(found) > 0 && !strings.Contains(b.String(), `"uri": "a%20b/%25%C3%BC.yaml"`) {
			t.Errorf("the report has no relative URI of the file:\n%s", b.Bytes())
		}
	}
}

// TestFileURI checks that no part of a path is taken for a scheme.
func TestFileURI(t *testing.T) {
	for path, want := range map[string]string{
		"a b/%.yaml":  "a%20b/%25.yaml",
		"a:b/c:d":     "a%3Ab/c%3Ad",
		":a.yaml":     "%3Aa.yaml",
		"/abs/x.yaml": "file:///abs/x.yaml",
	} {
		if got := fileURI(path); got != want {
			t.Errorf("fileURI(%q) = %q, want %q", path, got, want)
		}
	}
}
