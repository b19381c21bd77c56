// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// tagsSideBySide is how many tags are looked up at the same time.
const tagsSideBySide = 16

// Tags are the tags of a repository that point at one digest.
type Tags struct {
	Digest digest.Digest `json:"digest"`
	Tags   []string      `json:"tags"` // sorted
	// Total is the number of tags in the repository, and Asked how many of them were looked up. Asked
	// is 0 if the registry's list has the manifest of each tag.
	Total int `json:"total"`
	Asked int `json:"asked"`
	// Unread has the tags that could not be looked up, with the reason.
	Unread []string `json:"unread,omitempty"`
	// More is true if the repository has tags that were not looked up.
	More bool `json:"more,omitempty"`
}

// Tags returns the tags of the repository that point at the digest of a pinned reference. If the
// registry's list does not say it, each tag is looked up, at most limit of them, the last ones of
// the list, where the newest versions usually are. progress is called with the number of tags that
// were looked up, from several goroutines; it may be nil.
func (r *Reader) Tags(
	ctx context.Context, pinned ref.Reference, limit int, progress func(done, total int),
) (*Tags, error) {
	var list *registry.Tags
	err := r.ask(ctx, func() (err error) {
		list, err = r.Mirrors.Tags(ctx, resolve.Request{Ref: pinned, Keychain: r.Keychain})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("the list of tags: %w", err)
	}
	found := &Tags{Digest: pinned.Digest(), Total: len(list.Names), Tags: []string{}, More: list.More}
	if list.ByDigest != nil {
		found.Tags = append(found.Tags, list.ByDigest[found.Digest]...)
		slices.Sort(found.Tags)
		return found, nil
	}
	names := list.Names
	if skipped := len(names) - limit; skipped > 0 {
		names, found.More = names[skipped:], true
	}
	found.Asked = len(names)
	digests, errs := r.digests(ctx, pinned, names, progress)
	for i, name := range names {
		switch {
		case errs[i] != nil:
			found.Unread = append(found.Unread, name+": "+errs[i].Error())
		case digests[i] == found.Digest:
			found.Tags = append(found.Tags, name)
		}
	}
	slices.Sort(found.Tags)
	return found, nil
}

// digests looks up tags of a repository side by side.
func (r *Reader) digests(
	ctx context.Context, image ref.Reference, tags []string, progress func(done, total int),
) ([]digest.Digest, []error) {
	found, errs := make([]digest.Digest, len(tags)), make([]error, len(tags))
	var done atomic.Int64
	group := errgroup.Group{}
	group.SetLimit(tagsSideBySide)
	for i, tag := range tags {
		group.Go(func() error {
			tagged, err := ref.Parse(image.Repository() + ":" + tag)
			if err == nil {
				found[i], err = r.Digest(ctx, tagged)
			}
			errs[i] = err
			if progress != nil {
				progress(int(done.Add(1)), len(tags))
			}
			return nil
		})
	}
	_ = group.Wait()
	return found, errs
}
