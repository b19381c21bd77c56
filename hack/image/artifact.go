// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The config of an artifact that has none: https://github.com/opencontainers/image-spec/blob/main/manifest.md, "Guidance for
// an Empty Descriptor".
const (
	noConfigType = "application/vnd.oci.empty.v1+json"
	noConfig     = "{}"
)

// artifact is one blob with a manifest that names the image that it is about, by which registries list it as the image's
// referrer.
type artifact struct {
	manifest   []byte
	descriptor v1.Descriptor
	blobs      []v1.Layer
}

// attach makes the artifact of an SBOM; file is what oras pull calls it.
func attach(subject v1.Descriptor, sbom []byte, file string, src source) (artifact, error) {
	a := artifact{blobs: []v1.Layer{static.NewLayer([]byte(noConfig), noConfigType), static.NewLayer(sbom, sbomType)}}
	config, err := describe([]byte(noConfig), noConfigType)
	if err != nil {
		return a, err
	}
	layer, err := describe(sbom, sbomType)
	if err != nil {
		return a, err
	}
	layer.Annotations = map[string]string{"org.opencontainers.image.title": file}
	notes := map[string]string{"org.opencontainers.image.created": day(src.created)}
	a.manifest, err = json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: sbomType, Config: config, Layers: []v1.Descriptor{layer},
		Subject:     &v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations: notes,
	})
	if err != nil {
		return a, err
	}
	a.descriptor, err = describe(a.manifest, types.OCIManifestSchema1)
	a.descriptor.ArtifactType, a.descriptor.Annotations = sbomType, notes
	return a, err
}

func describe(content []byte, mediaType types.MediaType) (v1.Descriptor, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(content))
	return v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size}, err
}

// RawManifest makes it a remote.Taggable.
func (a artifact) RawManifest() ([]byte, error) { return a.manifest, nil }

// MediaType is that of every image manifest.
//
//nolint:unparam // as remote looks for it
func (a artifact) MediaType() (types.MediaType, error) { return a.descriptor.MediaType, nil }
