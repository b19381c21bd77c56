// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/tagpin/tagpin/pkg/manifest"
)

// find returns the files that the arguments name, and reads stdin. A file that is named twice, or
// that links lead to, is returned once, with all of its names.
func (f *fileFlags) find(args []string, t terminal) *sources {
	var s sources
	f.used = map[string]bool{}
	byPath := map[string]*source{}
	for _, text := range args {
		named := argument{text: text}
		for _, file := range f.filesOf(text, &s, t) {
			key := file.real()
			if byPath[key] == nil {
				byPath[key] = file
				s.all = append(s.all, file)
			}
			byPath[key].named = byPath[key].named || file.named
			byPath[key].addName(file.path, filepath.Base(key))
			named.files = append(named.files, byPath[key])
		}
		s.arguments = append(s.arguments, named)
	}
	if slices.ContainsFunc(args, isFolder) {
		f.unused(t)
	}
	return &s
}

// addName adds a path by which the file was found. That with the file's own name, which is no link,
// comes first.
func (s *source) addName(path, own string) {
	switch {
	case slices.Contains(s.names, path):
	case filepath.Base(path) == own:
		s.names = append([]string{path}, s.names...)
	default:
		s.names = append(s.names, path)
	}
	s.path = s.names[0]
}

// real returns the path of the file without links, or "" for stdin.
func (s *source) real() string {
	if s.path == "" {
		return ""
	}
	path, err := filepath.Abs(s.path)
	if err != nil {
		return s.path
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path // reading the file reports the error
}

// filesOf returns the file that an argument names, or all files below the folder, sorted by name.
// It does not follow links to folders below that. The path of stdin, which is -, is "". Stdin is
// read here, before the time for lookups begins, because the program that writes it may need a
// while.
func (f *fileFlags) filesOf(arg string, s *sources, t terminal) (files []*source) {
	if arg == "-" {
		data, err := io.ReadAll(t.in)
		return []*source{{named: true, data: data, err: err}}
	}
	if !isFolder(arg) { // if there is nothing, reading the file reports the error
		path := filepath.Clean(arg)
		if f.excludes(path, path) {
			return nil
		}
		return []*source{{path: path, named: true}}
	}
	arg = filepath.Clean(arg)
	within := (&source{path: arg}).real()
	within = cmp.Or(workTree(filepath.Join(within, "file")), within)
	root := arg + string(filepath.Separator) // without it, WalkDir does not follow a link
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if d == nil { // the folder itself has vanished
			s.unread = append(s.unread, err)
			return nil
		}
		path = filepath.Clean(path)
		hidden := d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".github"
		switch {
		case path != arg && (hidden || f.excludes(arg, path)):
			if d.IsDir() {
				return fs.SkipDir
			}
		case err != nil:
			s.unread = append(s.unread, err)
			return fs.SkipDir
		case d.IsDir() && path != arg && isTemplates(path):
			t.complain(fmt.Errorf("%s: skipped, because it has the templates of a chart; "+
				"render them: helm template %s | %s %s", path, filepath.Dir(path), t.program, f.command))
			return fs.SkipDir
		case !d.IsDir() && manifest.Candidate(path):
			file := &source{path: path}
			switch wanted, err := file.wanted(within); {
			case err != nil:
				s.unread = append(s.unread, err)
			case wanted:
				files = append(files, file)
			}
		}
		return nil
	})
	return files
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

// isFolder reports whether an argument names a folder.
func isFolder(arg string) bool {
	info, err := os.Stat(arg)
	return err == nil && info.IsDir()
}

// isTemplates reports whether a folder has the templates of a Helm chart.
func isTemplates(path string) bool {
	if filepath.Base(path) != "templates" {
		return false
	}
	_, err := os.Stat(filepath.Join(filepath.Dir(path), "Chart.yaml"))
	return err == nil
}

// excludes reports whether a file or a folder is left out. A glob without a slash is for its name
// alone. Another one is for its path, as the user would type it, or below the argument root. A
// slash at the end of a glob, which shells complete, has no meaning.
func (f *fileFlags) excludes(root, path string) bool {
	below, err := filepath.Rel(root, path)
	if err != nil {
		below = path
	}
	path = filepath.ToSlash(path)
	excluded := false
	for _, text := range f.exclude {
		glob := strings.TrimRight(text, "/")
		matches := doublestar.MatchUnvalidated(glob, filepath.Base(path))
		if strings.Contains(glob, "/") {
			glob = strings.TrimPrefix(glob, "./")
			matches = doublestar.MatchUnvalidated(glob, path) ||
				doublestar.MatchUnvalidated(glob, filepath.ToSlash(below))
		}
		if matches {
			f.used[text], excluded = true, true
		}
	}
	return excluded
}

// unused complains about globs of --exclude that match nothing, which may be spelled wrong. Files
// that are named, such as by a Git hook, need not match any.
func (f *fileFlags) unused(t terminal) {
	for _, glob := range f.exclude {
		if !f.used[glob] {
			t.complain(fmt.Errorf("%s: --exclude %s matches nothing", f.command, glob))
		}
	}
}
