// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tagpin/tagpin/pkg/manifest"
	"github.com/tagpin/tagpin/pkg/workload"
)

// source is a file of manifests, as it was read.
type source struct {
	name   string // for messages: the path, or stdin
	path   string // empty: stdin
	data   []byte
	stream *manifest.Stream
}

// readAll reads what the arguments name, once each. Its error names every file that can't be read.
func readAll(args []string, table *workload.Table, stdin io.Reader) ([]*source, error) {
	var (
		sources []*source
		errs    []error
		seen    = map[string]bool{}
	)
	read := func(s *source, found bool) {
		if seen[s.path] {
			return
		}
		seen[s.path] = true
		if err := s.read(table, stdin); err != nil {
			errs = append(errs, err)
			return
		}
		// A folder holds values for charts too, and other things that are for nobody's cluster.
		if !found || s.stream.Kubernetes() {
			sources = append(sources, s)
		}
	}
	for _, arg := range args {
		if arg == "-" {
			read(&source{name: "stdin"}, false)
			continue
		}
		paths, isDir, err := expand(arg)
		errs = append(errs, err)
		for _, p := range paths {
			read(&source{name: p, path: p}, isDir)
		}
	}
	return sources, errors.Join(errs...)
}

// expand is the manifests below a folder, in the order of their names, or the file itself. What begins with a dot is
// left out, as are links to folders.
func expand(arg string) (paths []string, isDir bool, err error) {
	if info, err := os.Stat(arg); err != nil || !info.IsDir() {
		return []string{filepath.Clean(arg)}, false, nil //nolint:nilerr // reading it tells the error
	}
	err = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != arg && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
		case !d.IsDir() && isManifest(path):
			paths = append(paths, path)
		}
		return nil
	})
	return paths, true, err
}

func isManifest(path string) bool {
	switch filepath.Ext(path) {
	case ".yaml", ".yml", ".json":
		info, err := os.Stat(path) // through links
		return err == nil && info.Mode().IsRegular()
	}
	return false
}

func (s *source) read(table *workload.Table, stdin io.Reader) (err error) {
	if s.path == "" {
		s.data, err = io.ReadAll(stdin)
	} else {
		s.data, err = os.ReadFile(s.path)
	}
	if err != nil {
		return err // it names the path
	}
	s.stream, err = manifest.Parse(s.name, s.data, table)
	if err != nil && bytes.Contains(s.data, []byte("{{")) {
		return fmt.Errorf("%w\nhint: it looks like a template: render it first, as in `helm template … | tagpin pin`", err)
	}
	return err
}

// replace writes data to the file at path, and to a link's target. It is there whole or not at all, with the mode it had.
func replace(path string, data []byte) (err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, errWrite := f.Write(data)
	if err := errors.Join(errWrite, f.Chmod(info.Mode().Perm()), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
