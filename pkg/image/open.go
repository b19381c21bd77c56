// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/printable"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// Platform is a platform to choose in an index. The zero value chooses none.
type Platform struct {
	text    string
	matcher platforms.MatchComparer
}

// ParsePlatform parses os/arch or os/arch/variant. The empty text is the zero value.
func ParsePlatform(text string) (Platform, error) {
	if text == "" {
		return Platform{}, nil
	}
	p, err := platforms.Parse(text)
	if err != nil || !strings.Contains(text, "/") {
		return Platform{}, errors.New("want os/arch or os/arch/variant, such as linux/arm64")
	}
	matcher := platforms.Only(p)
	if !matcher.Match(p) { // containerd does not know the variant, nor which ones are below it
		matcher = platforms.OnlyStrict(p)
	}
	return Platform{text, matcher}, nil
}

// IsZero reports whether no platform is to be chosen.
func (p Platform) IsZero() bool { return p.matcher == nil }

// String returns the text that was parsed.
func (p Platform) String() string { return p.text }

// Digest returns the digest that a reference has, or else that of its tag.
func (r *Reader) Digest(ctx context.Context, image ref.Reference) (digest.Digest, error) {
	if image.Pinned() {
		return image.Digest(), nil
	}
	req := resolve.Request{Ref: image, Keychain: r.Keychain, Fresh: true}
	found, err := r.Resolver.Resolve(ctx, req)
	return found.Digest, err
}

// Open gets the manifest that a reference names. If it is an index and a platform is given, that is
// the manifest that containerd chooses: the one for the platform, or else for the best of those
// that the platform also runs, such as linux/arm/v6 on linux/arm/v7. The error has a class of
// package failure.
func (r *Reader) Open(ctx context.Context, image ref.Reference, p Platform) (*Root, error) {
	d, err := r.Digest(ctx, image)
	if err != nil {
		return nil, err
	}
	root, err := r.get(ctx, image.WithDigest(d))
	if err != nil || p.IsZero() || !root.isIndex() {
		return root, err
	}
	chosen, err := root.choose(p)
	if err != nil {
		return nil, err
	}
	manifest, err := r.get(ctx, image.WithDigest(chosen))
	if err != nil {
		return nil, err
	}
	manifest.Index = d
	return manifest, nil
}

// DigestFor returns the digest of an image or, if a platform is given and the image is an index,
// that of the manifest for the platform. chosen is true in the second case. It gets at most the
// index: which platform an image without an index is for is not looked up.
func (r *Reader) DigestFor(
	ctx context.Context, image ref.Reference, p Platform,
) (d digest.Digest, chosen bool, err error) {
	d, err = r.Digest(ctx, image)
	if err != nil || p.IsZero() {
		return d, false, err
	}
	root, err := r.get(ctx, image.WithDigest(d))
	if err != nil || !root.isIndex() {
		return d, false, err
	}
	d, err = root.choose(p)
	return d, true, err
}

func (r *Reader) get(ctx context.Context, pinned ref.Reference) (*Root, error) {
	var m *registry.Manifest
	err := r.ask(ctx, func() (err error) {
		m, err = r.Mirrors.Manifest(ctx, resolve.Request{Ref: pinned, Keychain: r.Keychain})
		return err
	})
	if err != nil {
		return nil, err
	}
	root := &Root{Ref: pinned, Body: slices.Clone(m.Body)}
	m.Release()
	if root.parsed, err = parse(m.MediaType, root.Body); err != nil {
		return nil, failure.Errorf(failure.Invalid, "%s: %w", pinned.Host(), err)
	}
	return root, nil
}

// choose returns the digest of the best manifest for a platform, or of the first one of several
// that are as good.
func (r *Root) choose(p Platform) (digest.Digest, error) {
	var best ocispec.Descriptor
	var available []string
	for _, child := range r.images() {
		available = append(available, platforms.FormatAll(*child.Platform))
		if p.matcher.Match(*child.Platform) &&
			(best.Platform == nil || p.matcher.Less(*child.Platform, *best.Platform)) {
			best = child
		}
	}
	switch {
	case best.Platform != nil && best.Digest.Validate() != nil:
		return "", failure.Errorf(failure.Invalid, "the index has no valid digest for %s", p)
	case best.Platform != nil:
		return best.Digest, nil
	case len(available) == 0:
		return "", failure.Errorf(failure.NotFound,
			"no manifest for %s: the index names no platforms", p)
	}
	return "", failure.Errorf(failure.NotFound, "no manifest for %s; the index has manifests for %s",
		p, listed(available))
}

// images returns the manifests of an index that name a platform and run on it.
func (r *Root) images() (found []ocispec.Descriptor) {
	for _, d := range r.body.Manifests {
		if d.Platform != nil && !isAttestation(d) {
			found = append(found, d)
		}
	}
	return found
}

// ErrSeveral reports that an index has several images where one is needed.
var ErrSeveral = errors.New("it is an index of several platforms")

// Single returns the manifest of the only image: the root itself, or the one image of an index. If
// an index has several, the error is ErrSeveral and names their platforms.
func (r *Reader) Single(ctx context.Context, root *Root) (*Root, error) {
	if !root.isIndex() {
		return root, nil
	}
	images := root.images()
	if len(images) == 1 && images[0].Digest.Validate() == nil {
		found, err := r.get(ctx, root.Ref.WithDigest(images[0].Digest))
		if err == nil {
			found.Index = root.Ref.Digest()
		}
		return found, err
	}
	available := make([]string, len(images))
	for i, d := range images {
		available[i] = platforms.FormatAll(*d.Platform)
	}
	if len(available) == 0 {
		return nil, failure.Errorf(failure.NotFound,
			"it is an index that names no platforms; name one of its manifests by its digest")
	}
	return nil, fmt.Errorf("%w: %s", ErrSeveral, listed(available))
}

// maxListed bounds the platforms that an error lists.
const maxListed = 32

// listed returns texts as a list that an error may have.
func listed(texts []string) string {
	if more := len(texts) - maxListed; more > 0 {
		return printable.Text(strings.Join(texts[:maxListed], ", ")) + fmt.Sprintf(" and %d more", more)
	}
	return printable.Text(strings.Join(texts, ", "))
}
