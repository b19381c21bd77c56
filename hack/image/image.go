// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"maps"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
)

const (
	repositoryURL = "https://github.com/tagpin/tagpin"
	title         = "tagpin-webhook"
	description   = "An admission webhook, and a command line, that pin image tags to digests"
	license       = "Apache-2.0"
)

// part is the image of one platform and its SBOM.
type part struct {
	platform v1.Platform
	image    v1.Image
	sbom     []byte
	artifact v1.Image // the SBOM as a referrer of the image
}

func makePart(ctx context.Context, platform v1.Platform, b base, src source) (part, error) {
	binaries, err := build(ctx, platform, src.version)
	if err != nil {
		return part{}, err
	}
	img, err := newImage(platform, binaries, b, src)
	if err != nil {
		return part{}, err
	}
	subject, err := partial.Descriptor(img)
	if err != nil {
		return part{}, err
	}
	sbom, err := newSBOM(subject.Digest, platform, binaries, b, src)
	if err != nil {
		return part{}, err
	}
	attached, err := newArtifact(*subject, sbom, title+sbomName(platform), src.createdAnnotation())
	return part{platform, img, sbom, attached}, err
}

// newImage puts the binaries on top of the base.
func newImage(platform v1.Platform, binaries []binary, b base, src source) (v1.Image, error) {
	img, err := b.image(platform)
	if err != nil {
		return nil, err
	}
	layer, err := newLayer(binaryEntries(binaries))
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: src.created.UTC()}
	img, err = mutate.Append(img, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: created, CreatedBy: "hack/image: make build"},
	})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = platform.OS, platform.Architecture, created
	config.Config.User, config.Config.Entrypoint, config.Config.Cmd = user, []string{entrypoint}, nil
	if len(config.Config.Env) == 0 {
		config.Config.Env = []string{"PATH=/" + binDir[:len(binDir)-1]}
	}
	config.Config.Labels = annotations(b, src)
	img, err = mutate.ConfigFile(img, config)
	if err != nil {
		return nil, err
	}
	return mutate.Annotations(img, annotations(b, src)).(v1.Image), nil
}

// annotations returns the annotations that the OCI image spec defines. They are also the labels of
// the image, because Docker's tools show only labels.
func annotations(b base, src source) map[string]string {
	const prefix = "org.opencontainers.image."
	all := map[string]string{
		prefix + "title": title, prefix + "description": description, prefix + "licenses": license,
		prefix + "source": repositoryURL, prefix + "url": repositoryURL,
		prefix + "version": src.version, prefix + "created": timestamp(src.created),
	}
	if src.revision != "" {
		all[prefix+"revision"] = src.revision
	}
	maps.Copy(all, b.annotations())
	return all
}

// release is an index of the images of all platforms, with an SBOM of each image.
type release struct {
	index v1.ImageIndex
	parts []part
	src   source
}

func newRelease(parts []part, b base, src source) (release, error) {
	index := v1.ImageIndex(empty.Index)
	for _, p := range parts {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: p.image, Descriptor: v1.Descriptor{Platform: &p.platform},
		})
	}
	index = mutate.Annotations(index, annotations(b, src)).(v1.ImageIndex)
	_, err := index.Digest()
	return release{index, parts, src}, err
}
