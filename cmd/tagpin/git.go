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

	"github.com/tagpin/tagpin/pkg/manifest"
	"github.com/tagpin/tagpin/pkg/workload"
)

// baseFiles returns what the files with pins were in the commit to compare with. A file that is new
// or that was not valid has no entry. Without --base, files outside of a Git work tree have none
// either, and if Git fails in one, baseFiles prints why nothing is compared.
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
	for top, inTree := range byTree {
		err := fmt.Errorf("%s is in no Git work tree", inTree[0].path)
		var contents map[*source][]byte
		if top != "" {
			contents, err = gitContents(ctx, top, k.base, inTree)
		}
		switch {
		case err != nil && k.base != "":
			return before, fmt.Errorf("check: --base %s: %w", k.base, err)
		case err != nil && top != "" && !errors.Is(err, errNoCommit) && ctx.Err() == nil:
			t.complain(fmt.Errorf("%s: edited tags were not looked for: %w", top, err))
		}
		for s, data := range contents {
			if f, err := manifest.Parse(s.path, data, table); err == nil {
				before[s] = f
			}
		}
	}
	return before, nil
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
// no hooks, filters or other programs that a repository configures.
func gitContents(
	ctx context.Context, top, base string, files []*source,
) (map[*source][]byte, error) {
	revision := base
	if base == "" {
		revision = "HEAD"
	}
	commit, err := git(ctx, top, nil,
		"rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{commit}")
	switch exit := new(exec.ExitError); {
	case errors.As(err, &exit) && exit.ExitCode() == 1: // what --quiet says in this way alone
		return nil, fmt.Errorf("%w in %s; fetch it first", errNoCommit, top)
	case err != nil:
		return nil, err
	}
	var requests bytes.Buffer
	for _, s := range files {
		absolute, err := filepath.Abs(s.path)
		if err != nil {
			return nil, err
		}
		below, err := filepath.Rel(top, absolute)
		if err != nil || strings.ContainsAny(below, "\n\r") {
			below = "" // the answer is "missing", or the tree itself
		}
		fmt.Fprintf(&requests, "%s:%s\n", bytes.TrimSpace(commit), filepath.ToSlash(below))
	}
	out, err := git(ctx, top, &requests, "cat-file", "--batch")
	if err != nil {
		return nil, err
	}
	contents := map[*source][]byte{}
	answers := bufio.NewReader(bytes.NewReader(out))
	for _, s := range files {
		header, err := answers.ReadString('\n')
		if err != nil {
			return nil, err
		}
		var id, kind string
		var length int
		if _, err := fmt.Sscanf(header, "%s %s %d\n", &id, &kind, &length); err != nil {
			continue // the file is missing in the commit; the answer has its name, and "missing"
		}
		data := make([]byte, length+1) // with a line end
		if _, err := io.ReadFull(answers, data); err != nil {
			return nil, err
		}
		if kind == "blob" {
			contents[s] = data[:length]
		}
	}
	return contents, nil
}

// errNoCommit means that a work tree does not have the commit to compare with.
var errNoCommit = errors.New("no such commit")

// git runs a command of Git in a folder and returns its output. Its error is what Git says.
func git(ctx context.Context, dir string, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Stdin = dir, stdin
	out, err := cmd.Output()
	exit := new(exec.ExitError)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, errors.New("git is not installed")
	case errors.As(err, &exit) && len(exit.Stderr) > 0:
		said := strings.Join(strings.Fields(string(exit.Stderr)), " ")
		return nil, fmt.Errorf("git: %s (%w)", strings.TrimPrefix(said, "fatal: "), err)
	case err != nil:
		return nil, fmt.Errorf("git: %w", err)
	}
	return out, nil
}
