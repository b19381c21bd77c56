// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// find returns the files that the arguments name, and reads stdin. A file that is named twice, or
// that links lead to, is returned once, with all of its names.
func (f *fileFlags) find(ctx context.Context, args []string, t terminal) *sources {
	var s sources
	f.used, f.argumentPaths = map[string]bool{}, map[string]bool{}
	for _, text := range args {
		f.argumentPaths[absolute(text)] = true
	}
	byPath := map[string]*source{}
	for _, text := range args {
		arg := argument{text: text}
		for _, file := range f.filesOf(ctx, text, &s, t) {
			key := file.real()
			if byPath[key] == nil {
				byPath[key] = file
				s.all = append(s.all, file)
			}
			byPath[key].named = byPath[key].named || file.named
			byPath[key].addName(file.fileName, filepath.Base(key))
			arg.files = append(arg.files, byPath[key])
		}
		s.arguments = append(s.arguments, arg)
	}
	if slices.ContainsFunc(args, isFolder) {
		f.unused(t)
	}
	return &s
}

// addName adds a name by which the file was found, unless there is one like it, which says the same
// about the format. The file's own name, which is no link, comes first.
func (s *source) addName(name fileName, own string) {
	base := filepath.Base(name.path)
	like := func(other fileName) bool {
		return filepath.Base(other.path) == base && filepath.Base(other.as) == filepath.Base(name.as)
	}
	switch {
	case slices.ContainsFunc(s.names, like):
	case base == own && name.as == name.path:
		s.names = slices.Insert(s.names, 0, name)
	default:
		s.names = append(s.names, name)
	}
	s.fileName = s.names[0]
}

// real returns the path of the file without links, or "" for stdin.
func (s *source) real() string {
	if s.path == "" {
		return ""
	}
	return realPath(s.path)
}

// realPath returns the absolute path of a file or a folder, without links.
func realPath(path string) string {
	path = absolute(path)
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path // reading it reports the error
}

// absolute returns an absolute path, whose links are not followed.
func absolute(path string) string {
	if all, err := filepath.Abs(path); err == nil {
		return all
	}
	return path // there is no working folder
}

// filesOf returns the file that an argument names, or those in the folder. The path of stdin, which
// is -, is "". Stdin is read here, before the time for lookups begins, because the program that
// writes it may need a while.
func (f *fileFlags) filesOf(
	ctx context.Context, arg string, s *sources, t terminal,
) []*source {
	if arg == "-" {
		data, err := t.readStdin(ctx)
		return []*source{{named: true, data: data, err: err}}
	}
	path := filepath.Clean(arg)
	switch {
	case isFolder(arg):
		return f.filesIn(path, s, t)
	case f.excludes(path, path):
		return nil
	}
	// If there is no such file, reading it reports that.
	return []*source{{fileName: fileName{path, path}, named: true}}
}

// isFolder reports whether an argument names a folder.
func isFolder(arg string) bool {
	info, err := os.Stat(arg)
	return err == nil && info.IsDir()
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
