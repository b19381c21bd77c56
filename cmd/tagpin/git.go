// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tagpin/tagpin/pkg/amount"
	"github.com/tagpin/tagpin/pkg/manifest"
	"github.com/tagpin/tagpin/pkg/panics"
)

// baseline is what a commit has of the files of a run.
type baseline struct {
	pins map[*source][]filePin // of the files with pins; a new file has no entry
	// trees are the files with pins by their work trees, of those that Git could read.
	trees  map[string][]*source
	unread map[*source]bool // the commit has the file, but Git could not read it
}

// parser parses the content that a file had.
type parser func(s *source, data []byte) (*manifest.File, error)

// readBase returns what the files with pins were in the commit to compare with. A file that is new
// or that was not valid has no entry. Without --base, files outside of a Git work tree have none
// either, and if Git fails in one or can't read a file of the commit, readBase prints why nothing
// is compared. With --base, all of these are errors.
func (k *checking) readBase(
	ctx context.Context, files []*source, parse parser, t terminal,
) (baseline, error) {
	b := baseline{map[*source][]filePin{}, map[string][]*source{}, map[*source]bool{}}
	byTree := map[string][]*source{}
	for _, s := range files {
		if s.path != "" && len(pinsOf(s.file)) > 0 {
			top := workTree(s.real())
			byTree[top] = append(byTree[top], s)
		}
	}
	var unreads []error
	for top, inTree := range byTree {
		err := fmt.Errorf("%s is in no Git work tree", inTree[0].path)
		var contents map[*source][]byte
		var unread error
		if top != "" {
			contents, unread, err = gitContents(ctx, top, k.base, inTree)
		}
		switch {
		case err != nil && k.base != "":
			return b, fmt.Errorf("check: --base %s: %w", k.base, err)
		case err == nil:
			b.trees[top] = inTree
		case top != "" && !errors.Is(err, errNoCommit) && ctx.Err() == nil:
			t.complain(fmt.Errorf("%s: edited tags were not looked for: %w", top, err))
		}
		maps.DeleteFunc(contents, func(s *source, data []byte) bool {
			b.unread[s] = data == nil
			return data == nil
		})
		unreads = append(unreads, k.notCompared(top, unread, t))
		unreads = append(unreads, k.addBefore(b.pins, contents, parse, t)...)
	}
	return b, errors.Join(unreads...)
}

// notCompared returns an error about files that Git could not read, or prints it if there is no
// --base. The error that it gets may be nil.
func (k *checking) notCompared(top string, unread error, t terminal) error {
	switch {
	case unread == nil:
		return nil
	case k.base != "":
		return fmt.Errorf("check: --base %s: %s: edited tags were not looked for in %w",
			k.base, top, unread)
	}
	t.complain(fmt.Errorf("%s: edited tags were not looked for in %w", top, unread))
	return nil
}

// addBefore adds the pins that files had, which have these contents in the commit. A file that was
// not valid has no pins. With --base, addBefore returns an error for each file that makes the
// parser panic.
func (k *checking) addBefore(
	before map[*source][]filePin, contents map[*source][]byte, parse parser, t terminal,
) (errs []error) {
	for s, data := range contents {
		err := s.catch(t, func() error {
			f, err := parse(s, data)
			if err == nil {
				before[s] = withoutObjects(pinsOf(f))
			}
			return err
		})
		if _, caught := errors.AsType[*panics.Error](err); caught && k.base != "" {
			errs = append(errs, fmt.Errorf("check: --base %s: edited tags were not looked for: %w",
				k.base, err))
		}
	}
	return errs
}

// workTree returns the folder of the Git work tree that has a file, or "".
func workTree(path string) string {
	dir, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	for dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
	}
	return ""
}

// gitContents returns the contents that files had in a commit. It runs Git's plumbing, which runs
// no hooks, filters or other programs that a repository configures. unread says how many files the
// commit has but Git could not read, such as those that a partial clone has not fetched, and why.
// Their contents are nil.
func gitContents(
	ctx context.Context, top, base string, files []*source,
) (contents map[*source][]byte, unread, err error) {
	commit, err := findCommit(ctx, top, base)
	if err != nil {
		return nil, nil, err
	}
	return readFiles(ctx, top, commit, files)
}

// findCommit returns the ID of a commit, or that of HEAD if base is empty.
func findCommit(ctx context.Context, top, base string) (string, error) {
	commit, err := git(ctx, top, nil, "rev-parse", "--verify", "--quiet", "--end-of-options",
		cmp.Or(base, "HEAD")+"^{commit}")
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() == 1 {
		return "", fmt.Errorf("%w in %s; fetch it first", errNoCommit, top) // --quiet says only this so
	}
	return string(bytes.TrimSpace(commit)), err
}

// readFiles returns the contents that files have in a commit.
func readFiles(
	ctx context.Context, top, commit string, files []*source,
) (contents map[*source][]byte, unread, err error) {
	byPath := map[string][]*source{}
	for _, s := range files {
		if below, err := filepath.Rel(top, s.real()); err == nil {
			path := filepath.ToSlash(below)
			byPath[path] = append(byPath[path], s)
		}
	}
	entries, err := listBlobs(ctx, top, commit, slices.Sorted(maps.Keys(byPath)))
	if err != nil {
		return nil, nil, err
	}
	ids := slices.Compact(slices.Sorted(maps.Values(entries)))
	blobs, unread, err := readBlobs(ctx, top, commit, ids)
	contents = map[*source][]byte{}
	missing := 0
	for path, id := range entries {
		data, ok := blobs[id]
		if !ok {
			missing++
		}
		for _, s := range byPath[path] {
			contents[s] = data
		}
	}
	return contents, unreadFiles(missing, unread), err
}

// unreadFiles returns the error of some files that Git can't read, or nil if there is none.
func unreadFiles(n int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s that Git can't read in the commit: %w", amount.Of(n, "file"), err)
}

// maxArguments is how many bytes of paths are given to Git: Windows allows 32 KiB of arguments.
const maxArguments = 16 << 10

// modeLink is the mode of a symbolic link in Git, whose blob is the path that it leads to.
const modeLink = "120000"

// listBlobs returns the IDs of the blobs that a commit has at some paths. The others are not in the
// commit. Unlike the blobs, a clone usually has all trees, even if it is a partial one.
func listBlobs(
	ctx context.Context, top, commit string, paths []string,
) (ids map[string]string, err error) {
	args := []string{"--literal-pathspecs", "ls-tree", "-z", "--full-tree"}
	if len(strings.Join(paths, " ")) <= maxArguments {
		args = append(append(args, "--", commit), paths...)
	} else {
		args = append(args, "-r", commit)
	}
	return listTree(ctx, top, args, func(path string) bool {
		_, wanted := slices.BinarySearch(paths, path)
		return wanted
	})
}

// listTree returns the IDs of the blobs of files that Git lists with some arguments, by their
// paths.
func listTree(
	ctx context.Context, top string, args []string, wanted func(path string) bool,
) (ids map[string]string, err error) {
	out, err := git(ctx, top, nil, args...)
	if err != nil {
		return nil, err
	}
	ids = map[string]string{}
	for entry := range strings.SplitSeq(string(out), "\x00") {
		about, path, _ := strings.Cut(entry, "\t")
		fields := strings.Fields(about) // mode, kind and ID
		if len(fields) == 3 && fields[1] == "blob" && fields[0] != modeLink && wanted(path) {
			ids[path] = fields[2]
		}
	}
	return ids, nil
}

// sparseFiles returns the paths of the files that a sparse checkout leaves out of a work tree. They
// are in its index. The empty setting keeps Git from running the program that core.fsmonitor names.
func sparseFiles(ctx context.Context, top string) (map[string]bool, error) {
	out, err := git(ctx, top, nil, "-c", "core.fsmonitor=", "ls-files", "-t", "-z")
	if err != nil {
		return nil, err
	}
	paths := map[string]bool{}
	for entry := range strings.SplitSeq(string(out), "\x00") {
		if path, ok := strings.CutPrefix(entry, "S "); ok {
			paths[path] = true
		}
	}
	return paths, nil
}

// errNoCommit means that a work tree does not have the commit to compare with.
var errNoCommit = errors.New("no such commit")

// git runs a command of Git in a folder and returns its output, also if there is an error. The
// error is what Git says. In a partial clone, Git would fetch objects that are missing, and run
// programs for that which the repository's config names. The first variable keeps it from that. For
// a Git that does not know it, the second one allows no protocol.
func git(ctx context.Context, dir string, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Stdin = dir, stdin
	cmd.Env = append(cmd.Environ(), "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none")
	out, err := cmd.Output()
	exit := new(exec.ExitError)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return out, errors.New("git is not installed")
	case errors.As(err, &exit) && len(exit.Stderr) > 0:
		said := strings.Join(strings.Fields(string(exit.Stderr)), " ")
		return out, fmt.Errorf("git: %s (%w)", strings.TrimPrefix(said, "fatal: "), err)
	case err != nil:
		return out, fmt.Errorf("git: %w", err)
	}
	return out, nil
}
