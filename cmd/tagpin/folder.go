// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tagpin/tagpin/pkg/manifest"
)

// folder is an argument that is a folder, and the search for the files in it.
type folder struct {
	flags   *fileFlags
	path    string
	within  string // the files outside of this folder are not read
	sources *sources
	t       terminal

	files []*source
}

// filesIn returns all files below a folder that may have images, sorted by name. It does not follow
// links to folders. After them come those that Kustomizations name.
func (f *fileFlags) filesIn(path string, s *sources, t terminal) []*source {
	within := realPath(path)
	within = cmp.Or(workTree(filepath.Join(within, "file")), within)
	d := folder{flags: f, path: path, within: within, sources: s, t: t}
	root := path + string(filepath.Separator) // without it, WalkDir does not follow a link
	_ = filepath.WalkDir(root, d.visit)
	d.follow()
	return d.files
}

// visit is called with each file and each folder.
func (d *folder) visit(path string, entry fs.DirEntry, err error) error {
	unread := func(err error) { d.sources.unread = append(d.sources.unread, err) }
	if entry == nil { // the folder itself has vanished
		unread(err)
		return nil
	}
	path = filepath.Clean(path)
	hidden := entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".github"
	switch {
	case path != d.path && (hidden || d.flags.excludes(d.path, path)):
		if entry.IsDir() {
			return fs.SkipDir
		}
	case err != nil:
		unread(err)
		return fs.SkipDir
	case entry.IsDir() && path != d.path && isTemplates(path):
		d.t.complain(fmt.Errorf("%s: skipped, because it has the templates of a chart; render them: "+
			"helm template %s | %s %s", path, filepath.Dir(path), d.t.program, d.flags.command))
		return fs.SkipDir
	case !entry.IsDir() && manifest.Candidate(path):
		file := &source{fileName: fileName{path, path}}
		switch wanted, err := file.wanted(d.within); {
		case err != nil:
			unread(err)
		case wanted:
			d.files = append(d.files, file)
		}
	}
	return nil
}

// isTemplates reports whether a folder has the templates of a Helm chart.
func isTemplates(path string) bool {
	if filepath.Base(path) != "templates" {
		return false
	}
	_, err := os.Stat(filepath.Join(filepath.Dir(path), "Chart.yaml"))
	return err == nil
}

// wanted reports whether a file in a folder is read. Devices and the like are not. A link to
// nothing is, so that reading it reports that. It returns an error for a link to a file outside of
// the folder within: such a link may lead to secrets of the machine, parts of which would be
// printed.
func (s *source) wanted(within string) (bool, error) {
	if info, err := os.Stat(s.path); err == nil && !info.Mode().IsRegular() { // follows links
		return false, nil
	}
	below, err := filepath.Rel(within, s.real())
	if err != nil || !filepath.IsLocal(below) {
		return false, fmt.Errorf("%s: it is a link to a file outside of %s, which is not read; name it "+
			"as an argument, or leave it out with --exclude", s.path, within)
	}
	return true, nil
}
