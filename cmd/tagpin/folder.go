// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
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

	files     []*source
	refused   map[string]bool // files that are not read, by their paths in folders without links
	templates string          // the folder with the templates of a chart that was found last, or ""
	skipped   string          // the one of those folders that a message was printed about last
}

// filesIn returns all files below a folder that may have images, sorted by name. It does not follow
// links to folders. After them come those that Kustomizations name.
func (f *fileFlags) filesIn(path string, s *sources, t terminal) []*source {
	within := realPath(path)
	within = cmp.Or(workTree(filepath.Join(within, "file")), within)
	d := folder{
		flags: f, path: path, within: within, sources: s, t: t, refused: map[string]bool{},
	}
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
	case entry.IsDir():
		if path != d.path && !below(d.templates, path) && isTemplates(path) {
			d.templates = path
		}
	case manifest.Candidate(path):
		file := &source{fileName: fileName{path, path}}
		switch wanted, err := d.flags.wanted(file, d.within); {
		case err != nil:
			d.refuse(path, err)
		case wanted && !d.skips(file):
			d.files = append(d.files, file)
		}
	}
	return nil
}

// refuse adds the error of a file that is not read, unless it has one already: a Kustomization may
// name a file that is found anyway.
func (d *folder) refuse(path string, err error) {
	key := filepath.Join(realPath(filepath.Dir(path)), filepath.Base(path))
	if !d.refused[key] {
		d.refused[key] = true
		d.sources.unread = append(d.sources.unread, err)
	}
}

// skips reports whether a file is a template of a chart. It prints a message about the first one of
// a chart. Helm changes nothing in a file without actions, so such a file is not skipped.
func (d *folder) skips(file *source) bool {
	if !below(d.templates, file.path) {
		return false
	}
	data, err := os.ReadFile(file.path)
	if err != nil || !bytes.Contains(data, []byte("{{")) {
		return false // if there is an error, reading the file again reports it
	}
	if d.skipped != d.templates {
		d.skipped = d.templates
		next := "render them"
		if d.flags.command == "pin" { // it would print what Helm renders, and pin nothing in the chart
			next = "write the digests of images in them by hand, or move them into values; to see them"
		}
		d.t.complain(fmt.Errorf("%s: files with {{ in the templates of the chart were skipped; "+
			"%s: helm template %s | %s check", d.templates, next,
			shellWord(filepath.Dir(d.templates)), d.t.program))
	}
	return true
}

// below reports whether a path is below a folder. Nothing is below "".
func below(dir, path string) bool {
	return dir != "" && strings.HasPrefix(path, dir+string(filepath.Separator))
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
// nothing is, so that reading it reports that. It returns an error for a file that is too large,
// and for a link to a file outside of the folder within, unless an argument names it: such a link
// may lead to secrets of the machine, and parts of them would be printed.
func (f *fileFlags) wanted(s *source, within string) (bool, error) {
	info, statErr := os.Stat(s.path) // follows links
	switch {
	case statErr == nil && !info.Mode().IsRegular():
		return false, nil
	case f.argumentPaths[absolute(s.path)]:
		return true, nil
	}
	const next = "name it as an argument too, or leave it out with --exclude"
	if !isWithin(within, s.real()) {
		if link := linkOut(within, s.path); link != s.path {
			return false, fmt.Errorf("%s: %s is a link to a folder outside of %s, which is not read; "+
				"leave the link out with --exclude, and name its target as an argument of its own",
				s.path, link, within)
		}
		return false, fmt.Errorf("%s: it is a link to a file outside of %s, which is not read; %s",
			s.path, within, next)
	}
	if statErr == nil && info.Size() > maxSize {
		return false, fmt.Errorf("%s: it has more than %d MiB, so it was not read; %s",
			s.path, maxSize>>20, next)
	}
	return true, nil
}

// isWithin reports whether a path is that of a folder or below it. Both are without links.
func isWithin(dir, path string) bool {
	below, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(below)
}

// linkOut returns the first part of a path that leads out of a folder: the path itself, or a link
// to a folder above it.
func linkOut(dir, path string) string {
	for parent := filepath.Dir(path); parent != path && !isWithin(dir, realPath(parent)); {
		path, parent = parent, filepath.Dir(parent)
	}
	return path
}
