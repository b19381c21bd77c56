// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/tagpin/tagpin/pkg/manifest"
)

// following is the search for the files in a folder that its Kustomizations name.
type following struct {
	*folder
	root  string            // the path of the folder without links
	queue []*source         // files that may be Kustomizations, to be looked at
	read  map[string]bool   // Kustomizations, by their paths in folders without links
	added map[fileName]bool // files that Kustomizations name, by their paths without links
}

// follow adds the files in the folder that its Kustomizations name, and those that are named by the
// Kustomizations of the folders that these name. kustomize reads such a file whatever its name is,
// and in a hidden folder too. If the file does not exist, kustomize fails, so follow says nothing.
// Files outside of the folder are not added, but what names them is.
func (d *folder) follow() {
	s := following{
		folder: d, root: realPath(d.path), queue: slices.Clone(d.files),
		read: map[string]bool{}, added: map[fileName]bool{},
	}
	for ; len(s.queue) > 0; s.queue = s.queue[1:] {
		file := s.queue[0]
		if !manifest.IsKustomizationName(file.path) {
			continue
		}
		err := file.catch(s.t, func() error {
			s.readKustomization(file.path)
			return nil
		})
		if err != nil {
			s.sources.unread = append(s.sources.unread, err)
		}
	}
}

// readKustomization adds the files that a Kustomization names, unless it was read before.
func (s *following) readKustomization(path string) {
	dir := filepath.Dir(path)
	target := realPath(dir)
	key := filepath.Join(target, filepath.Base(path))
	if s.read[key] {
		return
	}
	s.read[key] = true
	data, _ := os.ReadFile(path) // reading it again reports the error
	for _, named := range manifest.ReferencedIn(data) {
		paths, out := s.paths(named.Path, dir, target)
		if _, err := os.Stat(out); out != "" && err == nil {
			s.sources.outside.add(reference{path, named.Path, realPath(out), s.path})
		}
		for _, path := range paths {
			s.add(&source{fileName: fileName{path, named.As(path)}})
		}
	}
}

// paths returns the paths of the files that a text in a Kustomization may name: its own, or those
// of the Kustomizations in the folder that it names. If it names what is outside of the argument,
// paths returns the path of that as out. dir is the folder of the Kustomization, and target is its
// path without links.
func (s *following) paths(text, dir, target string) (paths []string, out string) {
	if !filepath.IsLocal(text) { // kustomize takes the path without links for this
		if !filepath.IsAbs(text) {
			text = filepath.Join(target, text)
		}
		below, err := filepath.Rel(s.root, text)
		if err != nil || !filepath.IsLocal(below) {
			return nil, text
		}
		dir, text = s.path, below
	}
	path := filepath.Join(dir, text)
	if !isFolder(path) {
		return []string{path}, ""
	}
	for _, name := range manifest.KustomizationNames {
		paths = append(paths, filepath.Join(path, name))
	}
	return paths, ""
}

// add adds a file that a Kustomization names, if it exists and --exclude does not leave it out.
// There are many paths to a file by links to folders, but only one is added.
func (s *following) add(file *source) {
	_, err := os.Stat(file.path)
	if err != nil && !errors.Is(err, fs.ErrPermission) || s.excludesAbove(file.path) {
		return
	}
	key := fileName{filepath.Join(file.real(), filepath.Base(file.path)), filepath.Base(file.as)}
	if s.added[key] {
		return
	}
	s.added[key] = true
	if err == nil {
		var wanted bool
		if wanted, err = s.flags.wanted(file, s.within); wanted {
			s.files, s.queue = append(s.files, file), append(s.queue, file)
		}
	}
	if err != nil {
		s.refuse(file.path, err)
	}
}

// excludesAbove reports whether --exclude leaves out a file or a folder that has it.
func (s *following) excludesAbove(path string) bool {
	for ; path != s.path; path = filepath.Dir(path) {
		if s.flags.excludes(s.path, path) {
			return true
		}
	}
	return false
}
