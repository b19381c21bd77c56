// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Why a clone does not have blobs of a commit.
var (
	errPartial = errors.New("this partial clone does not have them; clone without --filter, or run " +
		"git fetch --refetch --no-filter")
	errLost = errors.New("the repository does not have them; " + seeFsck)
)

const seeFsck = "git fsck says what is damaged"

// maxEnds is how often Git may end at a blob that it can't read. Then no more are asked for.
const maxEnds = 100

// badBlob is a blob that Git could not read, and what it said.
type badBlob struct {
	id  string
	err error
}

// readBlobs returns the contents of blobs of a commit, by their IDs. Git may end at a blob that is
// damaged or missing, or say that it is missing. Then it is asked which ones are missing, and for
// the others after that blob. unread is why some were not read.
func readBlobs(
	ctx context.Context, top, commit string, ids []string,
) (contents map[string][]byte, unread, err error) {
	contents = map[string][]byte{}
	var missing map[string]bool // nil if that was not asked
	var damaged error
	rest := ids
	for range maxEnds {
		var bad []badBlob
		rest, bad = catBlobs(ctx, top, rest, contents)
		if len(bad) > 0 && missing == nil && ctx.Err() == nil {
			missing = missingBlobs(ctx, top, commit)
		}
		for _, b := range bad {
			if damaged == nil && !missing[b.id] {
				damaged = fmt.Errorf("%w; %s", b.err, seeFsck)
			}
		}
		rest = slices.DeleteFunc(rest, func(id string) bool { return missing[id] })
		if len(rest) == 0 || ctx.Err() != nil {
			break
		}
	}
	lost := slices.ContainsFunc(ids, func(id string) bool { return missing[id] })
	switch {
	case lost && damaged != nil:
		unread = fmt.Errorf("%w; %w", whyMissing(ctx, top), damaged)
	case lost:
		unread = whyMissing(ctx, top)
	default:
		unread = damaged
	}
	return contents, unread, ctx.Err()
}

// whyMissing returns why a clone does not have some blobs.
func whyMissing(ctx context.Context, top string) error {
	const settings = `^(extensions\.partialclone|remote\..*\.promisor)$`
	if _, err := git(ctx, top, nil, "config", "--get-regexp", settings); err != nil {
		return errLost
	}
	return errPartial
}

// missingBlobs returns the IDs of the objects of a commit that a clone does not have. If Git can't
// say so, it returns none.
func missingBlobs(ctx context.Context, top, commit string) map[string]bool {
	ids := map[string]bool{}
	out, err := git(ctx, top, nil, "rev-list", "--objects", "--no-walk", "--missing=print", commit)
	if err != nil {
		return ids
	}
	for line := range strings.Lines(string(out)) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "?"); ok {
			ids[id] = true
		}
	}
	return ids
}

// blobSizes returns the sizes of blobs by their IDs, of those that Git can read.
func blobSizes(ctx context.Context, top string, ids []string) map[string]int64 {
	sizes := map[string]int64{}
	if len(ids) == 0 {
		return sizes
	}
	requests := strings.NewReader(strings.Join(ids, "\n") + "\n")
	out, _ := git(ctx, top, requests, "cat-file", "--batch-check") // reading the rest reports errors
	for line := range strings.Lines(string(out)) {
		var id string
		var size int64
		if _, err := fmt.Sscanf(line, "%s blob %d", &id, &size); err == nil {
			sizes[id] = size
		}
	}
	return sizes
}

// catBlobs adds the contents of blobs to contents, by their IDs. bad are those that Git can't read.
// If it ends at one of them, rest are those after it.
func catBlobs(
	ctx context.Context, top string, ids []string, contents map[string][]byte,
) (rest []string, bad []badBlob) {
	if len(ids) == 0 {
		return nil, nil
	}
	requests := strings.NewReader(strings.Join(ids, "\n") + "\n")
	out, ended := git(ctx, top, requests, "cat-file", "--batch")
	answers := bufio.NewReader(bytes.NewReader(out))
	for i, id := range ids {
		header, err := answers.ReadString('\n')
		if err != nil {
			ended = cmp.Or(ended, fmt.Errorf("git: %w", io.ErrUnexpectedEOF))
			return slices.Clone(ids[i+1:]), append(bad, badBlob{id, ended})
		}
		var length int
		if _, err := fmt.Sscanf(header, id+" blob %d\n", &length); err != nil {
			bad = append(bad, badBlob{id, fmt.Errorf("git: %s", strings.TrimSpace(header))})
			continue
		}
		data := make([]byte, length+1) // with a line end
		if _, err := io.ReadFull(answers, data); err != nil {
			ended = cmp.Or(ended, fmt.Errorf("git: %w", err))
			return slices.Clone(ids[i+1:]), append(bad, badBlob{id, ended})
		}
		contents[id] = data[:length]
	}
	return nil, bad
}
