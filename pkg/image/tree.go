// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

const (
	// MaxDepth bounds how deep indexes in indexes are opened.
	MaxDepth = 4
	// MaxOpened bounds the manifests that are opened for one tree. Others are listed with what the
	// index says about them.
	MaxOpened = 64
	// MaxConfig bounds a config object, as containerd does.
	MaxConfig = 8 << 20
	// sideBySide is how many requests are made at the same time.
	sideBySide = 8
)

// Tree reads all that belongs to a manifest: the manifests of an index, their configs, and what was
// attached to the manifest and to its index. What can't be read is a problem in the tree, and does
// not keep the rest from it. The error is that of the context alone; the tree has what was read
// before.
func (r *Reader) Tree(ctx context.Context, root *Root) (*Tree, error) {
	m := &Manifest{Descriptor: Descriptor{
		Digest: root.Ref.Digest(), MediaType: root.mediaType, Size: root.size,
	}}
	t := &Tree{Manifest: m, Index: root.Index}
	var attached sync.WaitGroup
	attached.Go(func() { r.attached(ctx, root, t) })
	m.fill(root.parsed)
	r.config(ctx, root.Ref, m)
	opened := 0
	for level, depth := m.Manifests, 1; len(level) > 0; depth++ {
		var next []*Manifest
		group := errgroup.Group{}
		group.SetLimit(sideBySide)
		for _, child := range level {
			switch {
			case !registry.Supported(child.MediaType):
			case depth > MaxDepth:
				child.Note = fmt.Sprintf("not opened, because it is below %d indexes", MaxDepth)
			case opened >= MaxOpened:
				child.Note = fmt.Sprintf("not opened, because %d manifests were", MaxOpened)
			default:
				opened++
				group.Go(func() error { r.open(ctx, root.Ref, child); return nil })
			}
		}
		_ = group.Wait()
		for _, child := range level {
			next = append(next, child.Manifests...)
		}
		level = next
	}
	attached.Wait()
	return t, context.Cause(ctx)
}

// open reads a manifest of an index.
func (r *Reader) open(ctx context.Context, image ref.Reference, m *Manifest) {
	if m.Digest.Validate() != nil {
		m.Problem = "the index has no valid digest for it"
		return
	}
	found, err := r.get(ctx, image.WithDigest(m.Digest))
	if err != nil {
		m.Problem = err.Error()
		return
	}
	switch {
	case found.size != m.Size:
		m.Problem = fmt.Sprintf("it has %d bytes, but the index says %d", found.size, m.Size)
	case found.mediaType != m.MediaType:
		m.Problem = "it has another media type than the index says"
	}
	m.fill(found.parsed)
	r.config(ctx, image, m)
}

// config reads the config of an image.
func (r *Reader) config(ctx context.Context, image ref.Reference, m *Manifest) {
	if m.Kind != Image || !types.MediaType(m.Config.MediaType).IsConfig() {
		return
	}
	body, err := r.ConfigBytes(ctx, image, m.Config)
	if err == nil {
		var platform string
		if platform, err = m.Config.fill(body); m.Platform == "" {
			m.Platform = platform
		}
	}
	if err != nil && m.Problem == "" {
		m.Problem = err.Error()
	}
}

// ConfigBytes returns the exact bytes of a config object.
func (r *Reader) ConfigBytes(
	ctx context.Context, image ref.Reference, c *Config,
) ([]byte, error) {
	if c.Size > MaxConfig {
		return nil, failure.Errorf(failure.Invalid, "its config has more than %d MiB", MaxConfig>>20)
	}
	var buf bytes.Buffer
	req := resolve.Request{Ref: image, Keychain: r.Keychain}
	blob := registry.Blob{Digest: c.Digest, Size: c.Size}
	err := r.ask(ctx, func() error {
		return r.Mirrors.Blob(ctx, req, blob, func(body io.Reader) error {
			buf.Reset()
			_, err := buf.ReadFrom(body)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("its config: %w", err)
	}
	return buf.Bytes(), nil
}

// Config returns the config object that the manifest names, of which only the Descriptor is set, or
// nil if it names none.
func (r *Root) Config() *Config {
	if r.body.Config == nil {
		return nil
	}
	return &Config{Descriptor: descriptor(*r.body.Config)}
}

// attached looks up what was attached to a manifest, and to the index that it was chosen from.
func (r *Reader) attached(ctx context.Context, root *Root, t *Tree) {
	subjects := []digest.Digest{root.Ref.Digest()}
	if root.Index != "" {
		subjects = append(subjects, root.Index)
	}
	found := make([][]Referrer, len(subjects)*(len(cosignTags)+1))
	unread := make([]string, len(found))
	group := errgroup.Group{}
	group.SetLimit(sideBySide)
	i := 0
	each := func(what string, look func() ([]Referrer, string, error)) {
		at := i
		i++
		group.Go(func() error {
			var err error
			if found[at], unread[at], err = look(); err != nil {
				unread[at] = what + ": " + err.Error()
			}
			return nil
		})
	}
	for _, d := range subjects {
		image := root.Ref.WithDigest(d)
		each("referrers", func() ([]Referrer, string, error) { return r.referrers(ctx, image) })
		for _, tag := range cosignTags {
			each(tag.content, func() ([]Referrer, string, error) {
				return r.cosign(ctx, image, tag.ending, tag.content)
			})
		}
	}
	_ = group.Wait()
	t.Referrers = slices.Concat(found...)
	t.Unread = slices.DeleteFunc(unread, func(s string) bool { return s == "" })
}

// referrers returns the referrers of a manifest. note is not empty if there are more.
func (r *Reader) referrers(
	ctx context.Context, image ref.Reference,
) (found []Referrer, note string, err error) {
	var list *registry.Referrers
	err = r.ask(ctx, func() (err error) {
		list, err = r.Mirrors.Referrers(ctx, resolve.Request{Ref: image, Keychain: r.Keychain})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	for _, d := range list.Manifests {
		one := referrer(d, list)
		one.Of = image.Digest()
		found = append(found, one)
	}
	if list.More {
		note = fmt.Sprintf("referrers: only the first %d are shown", len(found))
	}
	return found, note, nil
}

// cosign returns what cosign has stored under one of its tags.
func (r *Reader) cosign(
	ctx context.Context, image ref.Reference, ending, content string,
) (found []Referrer, note string, err error) {
	tag := strings.Replace(image.Digest().String(), ":", "-", 1) + ending
	tagged, err := ref.Parse(image.Repository() + ":" + tag)
	if err != nil {
		return nil, "", nil //nolint:nilerr // the tag of a long digest can't exist
	}
	d, err := r.Digest(ctx, tagged)
	if errors.Is(err, failure.NotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	return []Referrer{{
		Content: content, Descriptor: Descriptor{Digest: d}, Of: image.Digest(), Tag: tag,
	}}, "", nil
}
