// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
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
	s := f.find(t.Context(), []string{dir}, screen)
	f.parse(t.Context(), s, nil, nil, screen)
	if len(s.unread) != 1 || !strings.Contains(s.unread[0].Error(), "large.json: it has more than 16 MiB") {
		t.Errorf("errors = %v, want that of large.json", s.unread)
	}
	for _, file := range s.all {
		name := filepath.Base(file.path)
		if kept := len(file.data) > 0; kept != (name == "b.yaml" || name == "kustomization.yaml") {
			t.Errorf("content of %s: kept = %t, want that of the files that are known", file.path, kept)
		}
	}
}

// TestLargeFilesTogether checks that files which have more than maxSize together are not parsed at
// the same time. The one that is larger, which an argument names, is parsed alone.
func TestLargeFilesTogether(t *testing.T) {
	dir := t.TempDir()
	line := "#" + strings.Repeat(" ", 32<<10) + "\n" // which takes little time
	paths := make([]string, 3)
	for i, size := range []int{maxSize/2 + 1, maxSize/2 + 1, maxSize + 1} {
		paths[i] = filepath.Join(dir, string(rune('a'+i))+".Dockerfile")
		data := ("FROM a:1\n" + strings.Repeat(line, size/len(line)+1))[:size]
		if err := os.WriteFile(paths[i], []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		screen := newTerminal(nil, io.Discard, io.Discard)
		var f fileFlags
		s := f.find(t.Context(), paths, screen)
		var parsing, parsed atomic.Int32
		f.parse(t.Context(), s, nil, func(file *source) {
			if n := parsing.Add(1); n != 1 {
				t.Errorf("%s is one of %d files that are parsed at the same time, want one", file.path, n)
			}
			time.Sleep(time.Second) // until all other goroutines wait too
			parsing.Add(-1)
			parsed.Add(1)
		}, screen)
		if parsed.Load() != 3 {
			t.Errorf("%d files were parsed, want 3", parsed.Load())
		}
	})
}
