// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tagpin/tagpin/pkg/manifest"
)

// addMoved adds the pins that a commit has in other files than those that have pins now: files of
// the run without pins, and files that are no longer in the work tree. A pin that no file of the
// commit has had may be one of these, with another tag. If there is no such pin, addMoved does
// nothing. Errors are as those of readBase.
func (k *checking) addMoved(
	ctx context.Context, c *comparison, all []*source, parse parser, t terminal,
) error {
	var errs []error
	for top, files := range c.trees {
		m := moved{top: top, digests: c.newDigests(files), compared: map[string]bool{}}
		if len(m.digests) == 0 {
			continue
		}
		for _, s := range files {
			m.compared[s.real()] = true
		}
		pins := map[*source][]filePin{}
		unread, err := m.read(ctx, k.base, all, func(contents map[*source][]byte) {
			errs = append(errs, k.addBefore(pins, contents, parse, t)...)
		})
		switch {
		case ctx.Err() != nil:
		case err != nil && k.base != "":
			errs = append(errs, fmt.Errorf("check: --base %s: %w", k.base, err))
		case err != nil:
			t.complain(fmt.Errorf("%s: edited tags were not looked for in files that were moved: %w",
				top, err))
		}
		errs = append(errs, k.notCompared(top, unread, t))
		for _, old := range pins {
			c.add(old)
		}
	}
	return errors.Join(errs...)
}

// newDigests returns the digests of pins in files that the commit does not have, without their
// algorithms.
func (c *comparison) newDigests(files []*source) map[string]bool {
	digests := map[string]bool{}
	for _, s := range files {
		for _, p := range pinsOf(s.file) {
			if !c.unread[s] && c.was[p.id()] == 0 {
				_, digest, _ := strings.Cut(p.Digest().String(), ":")
				digests[digest] = true
			}
		}
	}
	return digests
}

// moved is the search for files of a commit that had pins which have moved to other files.
type moved struct {
	top      string
	digests  map[string]bool
	compared map[string]bool // files that were compared, by their paths without links
}

// read calls found with the contents of files that have one of the digests, some at a time, so that
// it needs little memory. unread is about files that Git could not read.
func (m *moved) read(
	ctx context.Context, base string, all []*source, found func(map[*source][]byte),
) (unread, err error) {
	commit, err := findCommit(ctx, m.top, base)
	if err != nil {
		return nil, err
	}
	files, err := m.files(ctx, commit, all)
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(files))
	for id := range files {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	missing := 0
	for _, some := range m.chunks(ctx, ids) {
		blobs, notRead, err := readBlobs(ctx, m.top, commit, some)
		if err != nil {
			return nil, err
		}
		contents := map[*source][]byte{}
		for _, id := range some {
			data, ok := blobs[id]
			if !ok {
				missing += len(files[id])
				unread = notRead
			}
			if ok && m.hasDigest(data) {
				for _, s := range files[id] {
					contents[s] = data
				}
			}
		}
		found(contents)
	}
	return unreadFiles(missing, unread), nil
}

// hexText matches what may be a digest.
var hexText = regexp.MustCompile(`[0-9a-f]{64,}`)

// hasDigest reports whether a file has one of the digests.
func (m *moved) hasDigest(data []byte) bool {
	return slices.ContainsFunc(hexText.FindAll(data, -1), func(text []byte) bool {
		return m.digests[string(text)]
	})
}

// files returns the files of a commit that may have had the pins, by the IDs of their blobs.
func (m *moved) files(
	ctx context.Context, commit string, all []*source,
) (map[string][]*source, error) {
	inRun := map[string]*source{}
	for _, s := range all {
		if s.path != "" {
			inRun[s.real()] = s
		}
	}
	sources := map[string]*source{} // by their paths in the commit
	var absent []string
	wanted := func(path string) bool {
		full := filepath.Join(m.top, filepath.FromSlash(path))
		s := inRun[full]
		switch {
		case s != nil && (s.err != nil || m.compared[full]):
			return false
		case s == nil:
			if !manifest.Candidate(path) || !isAbsent(full) {
				return false
			}
			s = &source{fileName: fileName{full, full}}
			absent = append(absent, path)
		}
		sources[path] = s
		return true
	}
	ids, err := listTree(ctx, m.top, []string{"ls-tree", "-r", "-z", "--full-tree", commit}, wanted)
	if err != nil {
		return nil, err
	}
	if len(absent) > 0 {
		sparse, err := sparseFiles(ctx, m.top)
		if err != nil {
			return nil, err
		}
		for _, path := range absent {
			if sparse[path] { // it was not deleted
				delete(ids, path)
			}
		}
	}
	files := map[string][]*source{}
	for path, id := range ids {
		files[id] = append(files[id], sources[path])
	}
	return files, nil
}

// isAbsent reports whether a file does not exist.
func isAbsent(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// chunks returns blobs in parts with at most maxSize bytes. It leaves out those that are larger,
// which are too large for manifests.
func (m *moved) chunks(ctx context.Context, ids []string) (parts [][]string) {
	sizes := blobSizes(ctx, m.top, ids)
	var size int64
	for _, id := range ids {
		if sizes[id] > maxSize {
			continue
		}
		if size += sizes[id]; len(parts) == 0 || size > maxSize {
			parts, size = append(parts, nil), sizes[id]
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], id)
	}
	return parts
}
