// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFollowMany names a file by thousands of paths through links, which lead to it by a loop. Each
// is the same file, so it is parsed once. Each folder of a long chain names the next one.
func TestFollowMany(t *testing.T) {
	root := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{"a", "b"} {
		if err := os.Symlink(".", filepath.Join(root, link)); err != nil {
			t.Skip(err)
		}
	}
	named := []string{"resources: [pod, .chain/0"}
	for i := range 1 << 9 { // the bits of a number choose the links
		links := strings.NewReplacer("0", "a/", "1", "b/").Replace(fmt.Sprintf("%b", i))
		named = append(named, links+"pod", links)
	}
	write("kustomization.yaml", strings.Join(named, ", ")+"]")
	write("pod", "{apiVersion: v1, kind: Pod}")
	const chain = 300
	for i := range chain {
		write(fmt.Sprintf(".chain/%d/Kustomization", i), fmt.Sprintf("resources: [../%d]", i+1))
	}
	s := new(fileFlags).find(t.Context(), []string{root}, terminal{})
	if want := 2 + chain; len(s.all) != want || len(s.arguments[0].files) > want+2 {
		t.Errorf("%d files, of the argument %d, want %d", len(s.all), len(s.arguments[0].files), want)
	}
	for _, file := range s.all {
		if len(file.names) != 1 {
			t.Errorf("%s has %d names, want one", file.path, len(file.names))
		}
	}
}
