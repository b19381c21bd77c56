// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFileSize checks that a large file in a folder is an error, and that the content of files that
// tagpin does not know is dropped.
func TestFileSize(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.json": `{"a": 1}`, "b.yaml": "kind: A\napiVersion: b/v1\n", "c.yaml": "a: [", "large.json": "{}",
		"kustomization.yaml": "resources: [large.json]",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(filepath.Join(dir, "large.json"), maxSize+1); err != nil {
		t.Fatal(err)
	}
	screen := newTerminal(nil, io.Discard, io.Discard)
	var f fileFlags
	s := f.find([]string{dir}, screen)
	f.parse(t.Context(), s, nil, nil, screen)
	if len(s.unread) != 1 || !strings.Contains(s.unread[0].Error(), "large.json: it has more than 32 MiB") {
		t.Errorf("errors = %v, want that of large.json", s.unread)
	}
	for _, file := range s.all {
		name := filepath.Base(file.path)
		if kept := len(file.data) > 0; kept != (name == "b.yaml" || name == "kustomization.yaml") {
			t.Errorf("content of %s: kept = %t, want that of the files that are known", file.path, kept)
		}
	}
}
