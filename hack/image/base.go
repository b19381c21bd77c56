// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// scratch is the value of --base for our own base.
const scratch = "scratch"

// base is the image below the binaries: an image in a registry, or our own layer if ref is nil.
type base struct {
	ref     *name.Digest
	options []remote.Option
}

// openBase parses the value of --base. It refuses tags, because a tag can move, and the image of a
// commit must always be the same.
func openBase(ctx context.Context, text string) (base, error) {
	b := base{options: remoteOptions(ctx)}
	if text == scratch {
		return b, nil
	}
	ref, err := name.NewDigest(text)
	if err != nil {
		return b, fmt.Errorf("--base: want scratch, or an image by its digest: %w", err)
	}
	b.ref = &ref
	return b, nil
}

// remoteOptions returns the options for all registries. Requests have the credentials of docker
// login and are not retried, because the user sees the error and can run the command again.
func remoteOptions(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithUserAgent("tagpin-image"),
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}), remote.WithRetryStatusCodes(),
	}
}

// image returns the base for a platform, as an OCI image.
func (b base) image(platform v1.Platform) (v1.Image, error) {
	if b.ref == nil {
		return scratchImage()
	}
	img, err := remote.Image(*b.ref, append(b.options, remote.WithPlatform(platform))...)
	if err != nil {
		return nil, fmt.Errorf("--base: %w", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("--base %s: %w", b.ref, err)
	}
	if config.OS != platform.OS || config.Architecture != platform.Architecture {
		return nil, fmt.Errorf("--base %s is an image for %s/%s", b.ref, config.OS, config.Architecture)
	}
	return asOCI(img), nil
}

func scratchImage() (v1.Image, error) {
	layer, err := newLayer(baseEntries())
	if err != nil {
		return nil, err
	}
	return mutate.Append(asOCI(empty.Image), mutate.Addendum{
		Layer:   layer,
		History: v1.History{CreatedBy: "hack/image: users, CA certificates, /tmp"},
	})
}

func asOCI(img v1.Image) v1.Image {
	return mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
}

// annotations returns the annotations that the OCI image spec defines for the base.
func (b base) annotations() map[string]string {
	if b.ref == nil {
		return nil
	}
	return map[string]string{
		"org.opencontainers.image.base.name":   b.ref.Context().Name(),
		"org.opencontainers.image.base.digest": b.ref.DigestStr(),
	}
}
