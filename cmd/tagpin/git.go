// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/tagpin/tagpin/pkg/amount"
	"github.com/tagpin/tagpin/pkg/manifest"
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
			top := workTree(s.path)
			byTree[top] = append(byTree[top], s)
		}
	}
	before := map[*source]*manifest.File{}
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
		for s, data := range contents {
			if f, err := manifest.Parse(s.path, data, table); err == nil {
				before[s] = f
			}
		}
	}
	return before, errors.Join(unreads...)
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
// no hooks, filters or other programs that a repository configures. unread says which files the
// commit may have but Git could not read, such as those that a partial clone has not fetched.
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
	var requests []string
	for _, s := range files {
		absolute, err := filepath.Abs(s.path)
		if err != nil {
			return nil, nil, err
		}
		below, err := filepath.Rel(top, absolute)
		if err != nil || strings.ContainsAny(below, "\n\r") {
			below = "" // the answer is "missing", or the tree itself
		}
		requests = append(requests,
			fmt.Sprintf("%s:%s\n", bytes.TrimSpace(commit), filepath.ToSlash(below)))
	}
	return readBlobs(ctx, top, requests, files)
}

// maxUnread bounds how often Git is called again after a file that it could not read.
const maxUnread = 100

// readBlobs returns the contents that Git has for some requests, one for each file. Git ends at an
// object that it can't read. Then it is called again for the files after that one.
func readBlobs(
	ctx context.Context, top string, requests []string, files []*source,
) (contents map[*source][]byte, unread, err error) {
	contents = map[*source][]byte{}
	first, count := error(nil), 0
	for len(files) > 0 {
		out, err := git(ctx, top, strings.NewReader(strings.Join(requests, "")), "cat-file", "--batch")
		done := readAnswers(out, files, contents)
		if done == len(files) {
			break
		}
		if err == nil {
			err = fmt.Errorf("git: %w", io.ErrUnexpectedEOF)
		}
		if ctx.Err() != nil {
			return contents, nil, err
		}
		if first == nil {
			first = err
		}
		left := files[done+1:]
		if count++; count == maxUnread {
			count, left = count+len(left), nil
		}
		requests, files = requests[len(files)-len(left):], left
	}
	if first != nil {
		unread = fmt.Errorf("%s that Git can't read in the commit: %w",
			amount.Of(count, "file"), first)
	}
	return contents, unread, nil
}

// readAnswers reads the answers of git cat-file about files, and returns their number. The rest is
// missing.
func readAnswers(out []byte, files []*source, contents map[*source][]byte) int {
	answers := bufio.NewReader(bytes.NewReader(out))
	for i, s := range files {
		header, err := answers.ReadString('\n')
		if err != nil {
			return i
		}
		var id, kind string
		var length int
		if _, err := fmt.Sscanf(header, "%s %s %d\n", &id, &kind, &length); err != nil {
			continue // the file is missing in the commit; the answer has its name, and "missing"
		}
		data := make([]byte, length+1) // with a line end
		if _, err := io.ReadFull(answers, data); err != nil {
			return i
		}
		if kind == "blob" {
			contents[s] = data[:length]
		}
	}
	return len(files)
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
