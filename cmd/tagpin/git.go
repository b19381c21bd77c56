// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
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
	"github.com/tagpin/tagpin/pkg/workload"
)

// baseFiles returns what the files with pins were in the commit to compare with. A file that is new
// or that was not valid has no entry. Without --base, files outside of a Git work tree have none
// either, and if Git fails in one or can't read a file of the commit, baseFiles prints why nothing
// is compared. With --base, all of these are errors.
func (k *checking) baseFiles(
	ctx context.Context, files []*source, table *workload.Table, t terminal,
) (map[*source]*manifest.File, error) {
	byTree := map[string][]*source{}
	for _, s := range files {
		if s.path != "" && len(pinsOf(s.file)) > 0 {
			top := workTree(s.real())
			byTree[top] = append(byTree[top], s)
		}
	}
	before := map[*source]*manifest.File{}
	parse := func(s *source, data []byte) (*manifest.File, error) {
		return manifest.ParseAs(s.path, s.as, data, table)
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
			return before, fmt.Errorf("check: --base %s: %w", k.base, err)
		case err != nil && top != "" && !errors.Is(err, errNoCommit) && ctx.Err() == nil:
			t.complain(fmt.Errorf("%s: edited tags were not looked for: %w", top, err))
		case unread != nil && k.base != "":
			unreads = append(unreads, fmt.Errorf("check: --base %s: %s: edited tags were not looked for "+
				"in %w", k.base, top, unread))
		case unread != nil:
			t.complain(fmt.Errorf("%s: edited tags were not looked for in %w", top, unread))
		}
		unreads = append(unreads, k.addBefore(before, contents, parse, t)...)
	}
	return before, errors.Join(unreads...)
}

// addBefore adds what files were, which have these contents in the commit. A file that was not
// valid has no pins. With --base, addBefore returns an error for each file that makes parse panic.
func (k *checking) addBefore(
	before map[*source]*manifest.File, contents map[*source][]byte,
	parse func(*source, []byte) (*manifest.File, error), t terminal,
) (errs []error) {
	for s, data := range contents {
		err := s.catch(t, func() error {
			f, err := parse(s, data)
			if err == nil {
				before[s] = f
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
func gitContents(
	ctx context.Context, top, base string, files []*source,
) (contents map[*source][]byte, unread, err error) {
	revision := base
	if base == "" {
		revision = "HEAD"
	}
	commit, err := git(ctx, top, nil,
		"rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{commit}")
	switch exit := new(exec.ExitError); {
	case errors.As(err, &exit) && exit.ExitCode() == 1: // what --quiet says in this way alone
		return nil, nil, fmt.Errorf("%w in %s; fetch it first", errNoCommit, top)
	case err != nil:
		return nil, nil, err
	}
	return readFiles(ctx, top, string(bytes.TrimSpace(commit)), files)
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
			continue
		}
		for _, s := range byPath[path] {
			contents[s] = data
		}
	}
	if unread != nil {
		unread = fmt.Errorf("%s that Git can't read in the commit: %w",
			amount.Of(missing, "file"), unread)
	}
	return contents, unread, err
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
	out, err := git(ctx, top, nil, args...)
	if err != nil {
		return nil, err
	}
	ids = map[string]string{}
	for entry := range strings.SplitSeq(string(out), "\x00") {
		about, path, _ := strings.Cut(entry, "\t")
		fields := strings.Fields(about) // mode, kind and ID
		if _, wanted := slices.BinarySearch(paths, path); wanted && len(fields) == 3 &&
			fields[1] == "blob" && fields[0] != modeLink {
			ids[path] = fields[2]
		}
	}
	return ids, nil
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
