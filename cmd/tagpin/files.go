// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
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

// source is a manifest file that was read.
type source struct {
	path   string // empty for stdin
	data   []byte
	stream *manifest.Stream
	edits  []manifest.Edit
	pinned []byte // data with the edits
}

// readAll reads the files that the arguments name. A file that is named twice is read once. The
// error describes every file that can't be read.
func readAll(args []string, table *workload.Table, stdin io.Reader) ([]*source, error) {
	var (
		sources []*source
		errs    []error
		seen    = map[string]bool{}
	)
	for _, arg := range args {
		paths, isDir, err := manifestPaths(arg)
		errs = append(errs, err)
		for _, path := range paths {
			if seen[path] {
				continue
			}
			seen[path] = true
			s := &source{path: path}
			err := s.read(table, stdin)
			errs = append(errs, err)
			// A folder can also have YAML files that are not manifests, such as the values of charts.
			if err == nil && (!isDir || s.stream.Kubernetes()) {
				sources = append(sources, s)
			}
		}
	}
	return sources, errors.Join(errs...)
}

// manifestPaths returns the path of a file, or the paths of all manifest files below a folder,
// sorted by name. It leaves out hidden files and folders, and does not follow links to folders. The
// path of stdin, which is -, is "".
func manifestPaths(arg string) (paths []string, isDir bool, err error) {
	if arg == "-" {
		return []string{""}, false, nil
	}
	if info, err := os.Stat(arg); err != nil || !info.IsDir() {
		return []string{filepath.Clean(arg)}, false, nil //nolint:nilerr // reading the file reports it
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
		info, err := os.Stat(path) // follows links
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
		return err // the error has the path
	}
	s.stream, err = manifest.Parse(cmp.Or(s.path, "stdin"), s.data, table)
	if err != nil && bytes.Contains(s.data, []byte("{{")) {
		return fmt.Errorf("%w\nhint: this file looks like a template; render it first: "+
			"`helm template … | tagpin pin`", err)
	}
	return err
}

// replace replaces the content of the file at path atomically and keeps its mode. If path is a
// link, the target of the link is replaced.
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
