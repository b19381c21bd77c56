// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The config of an artifact that has none, as the section "Guidance for an Empty Descriptor" of
// https://github.com/opencontainers/image-spec/blob/main/manifest.md says.
const (
	emptyConfigType = "application/vnd.oci.empty.v1+json"
	emptyConfig     = "{}"
)

// newArtifact returns the OCI artifact of an SBOM. Registries list it as a referrer of the image
// subject. file is the name under which oras pull saves the SBOM.
func newArtifact(
	subject v1.Descriptor, sbom []byte, file string, annotations map[string]string,
) (v1.Image, error) {
	blob := static.NewLayer(sbom, sbomType)
	layer, err := partial.Descriptor(blob)
	if err != nil {
		return nil, err
	}
	layer.Annotations = map[string]string{"org.opencontainers.image.title": file}
	config, err := partial.Descriptor(static.NewLayer([]byte(emptyConfig), emptyConfigType))
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: sbomType,
		Config: *config, Layers: []v1.Descriptor{*layer}, Annotations: annotations,
		Subject: &v1.Descriptor{
			MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size,
		},
	})
	if err != nil {
		return nil, err
	}
	return partial.CompressedToImage(artifact{manifest, blob})
}

// artifact is an artifact with one layer and an empty config. It implements
// partial.CompressedImageCore. Package mutate can't build it, because it can't set an artifactType.
type artifact struct {
	manifest []byte
	layer    v1.Layer
}

func (a artifact) RawManifest() ([]byte, error) { return a.manifest, nil }

func (artifact) RawConfigFile() ([]byte, error) { return []byte(emptyConfig), nil }

func (artifact) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// LayerByDigest returns the only layer.
func (a artifact) LayerByDigest(v1.Hash) (partial.CompressedLayer, error) { return a.layer, nil }
