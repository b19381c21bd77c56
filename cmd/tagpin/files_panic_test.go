// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/panics"
)

// TestFilePanic checks that a panic about one file is an error of that file alone.
func TestFilePanic(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.yaml", "b.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("kind: A\napiVersion: b/v1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, messages bytes.Buffer
	screen := newTerminal(nil, &out, &messages)
	var f fileFlags
	s := f.find(t.Context(), []string{dir}, screen)
	f.parse(t.Context(), s, nil, func(file *source) {
		if filepath.Base(file.path) == "a.yaml" {
			panic("odd")
		}
	}, screen)
	if len(s.files) != 1 || len(s.unread) != 1 {
		t.Fatalf("parse = %d files and %v, want one of each", len(s.files), s.unread)
	}
	if _, ok := errors.AsType[*panics.Error](s.unread[0]); !ok ||
		!strings.HasPrefix(s.unread[0].Error(), filepath.Join(dir, "a.yaml")+": internal error") {
		t.Errorf("error = %v, want that of a.yaml", s.unread[0])
	}
	if got := messages.String(); !strings.Contains(got, "which is a bug") || !strings.Contains(got, ": odd: ") {
		t.Errorf("messages = %q, want a report of the panic", got)
	}
	s.files[0].file = nil // which makes editing panic
	if errs := s.edit(screen); len(errs) != 1 || len(s.files) != 0 {
		t.Errorf("edit = %v and %d files, want an error and none", errs, len(s.files))
	}
}

// TestFollowPanic checks that a panic about one Kustomization is an error of that file alone.
func TestFollowPanic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kustomization.yaml")
	if err := os.WriteFile(path, []byte("resources: [a.yaml]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var messages bytes.Buffer
	var s sources
	d := folder{ // without flags, which makes adding a.yaml panic
		path: filepath.Dir(path), sources: &s, t: newTerminal(nil, nil, &messages),
		files: []*source{{fileName: fileName{path, path}}},
	}
	if err := os.WriteFile(filepath.Join(d.path, "a.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d.follow()
	if len(s.unread) != 1 || !strings.HasPrefix(s.unread[0].Error(), path+": internal error") {
		t.Errorf("follow = %v, want an error of %s", s.unread, path)
	}
	if got := messages.String(); !strings.Contains(got, "which is a bug") {
		t.Errorf("messages = %q, want a report of the panic", got)
	}
}
