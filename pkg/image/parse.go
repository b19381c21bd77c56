// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/tagpin/tagpin/pkg/registry"
)

// referenceDigest is the annotation by which BuildKit names the manifest that an attestation is
// about (docs/attestations of moby/buildkit).
const referenceDigest = "vnd.docker.reference.digest"

// parsed is a manifest's or an index's JSON.
type parsed struct {
	mediaType string
	size      int64
	body      struct {
		ArtifactType string               `json:"artifactType"`
		Config       *ocispec.Descriptor  `json:"config"`
		Layers       []ocispec.Descriptor `json:"layers"`
		Manifests    []ocispec.Descriptor `json:"manifests"`
		Subject      *ocispec.Descriptor  `json:"subject"`
		Annotations  map[string]string    `json:"annotations"`
	}
}

func parse(mediaType string, body []byte) (parsed, error) {
	p := parsed{mediaType: mediaType, size: int64(len(body))}
	if err := json.Unmarshal(body, &p.body); err != nil {
		return p, errors.New("the manifest is malformed") // err may quote it
	}
	return p, nil
}

func (p *parsed) isIndex() bool { return types.MediaType(p.mediaType).IsIndex() }

// fill sets what the manifest's own JSON says.
func (m *Manifest) fill(p parsed) {
	m.ArtifactType = p.body.ArtifactType
	if s := p.body.Subject; s != nil {
		m.Subject = s.Digest
	}
	if len(p.body.Annotations) > 0 {
		all := maps.Clone(m.Annotations)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, p.body.Annotations)
		m.Annotations = all
	}
	for _, d := range p.body.Manifests {
		m.Manifests = append(m.Manifests, child(d))
	}
	for _, d := range p.body.Layers {
		m.Layers = append(m.Layers, layer(d))
	}
	if p.isIndex() {
		m.Kind = Index
		return
	}
	if d := p.body.Config; d != nil {
		m.Config = &Config{Descriptor: descriptor(*d)}
	}
	switch {
	case m.Kind == Attestation:
	case m.Config != nil && types.MediaType(m.Config.MediaType).IsConfig() && m.ArtifactType == "":
		m.Kind = Image
	default:
		m.Kind = Artifact
		if m.ArtifactType == "" && m.Config != nil {
			m.ArtifactType = m.Config.MediaType
		}
	}
}

// child returns what an index says about one of its manifests.
func child(d ocispec.Descriptor) *Manifest {
	m := &Manifest{
		Kind: Other, Descriptor: descriptor(d), ArtifactType: d.ArtifactType, Annotations: d.Annotations,
	}
	switch mediaType := types.MediaType(d.MediaType); {
	case isAttestation(d):
		m.Kind = Attestation
		m.Subject = digest.Digest(d.Annotations[referenceDigest])
	case mediaType.IsIndex():
		m.Kind = Index
	case mediaType.IsSchema1():
		m.Note = "a Docker schema 1 manifest, which no current runtime pulls; not opened"
	case !mediaType.IsImage():
		m.Note = "not opened, because tagpin does not know its media type"
	case d.ArtifactType != "":
		m.Kind = Artifact
	default:
		m.Kind = Image
	}
	if d.Platform != nil && d.Platform.OS != "" && m.Kind != Attestation {
		m.Platform = platforms.FormatAll(*d.Platform)
	}
	return m
}

// isAttestation reports whether a manifest of an index is an attestation.
func isAttestation(d ocispec.Descriptor) bool {
	os := ""
	if d.Platform != nil {
		os = d.Platform.OS
	}
	return registry.IsAttestation(os, d.Annotations[registry.ReferenceType])
}

func descriptor(d ocispec.Descriptor) Descriptor {
	return Descriptor{Digest: d.Digest, MediaType: d.MediaType, Size: d.Size}
}

func layer(d ocispec.Descriptor) Layer {
	return Layer{
		Descriptor: descriptor(d), URLs: d.URLs, Annotations: d.Annotations,
		Content: content(d.MediaType, d.Annotations),
		Foreign: !types.MediaType(d.MediaType).IsDistributable(),
	}
}

// configFile is a config object. Times are texts: one that is malformed must not hide the rest.
type configFile struct {
	Created      string `json:"created"`
	Author       string `json:"author"`
	OS           string `json:"os"`
	OSVersion    string `json:"os.version"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
	Config       struct {
		User         string              `json:"User"`
		WorkingDir   string              `json:"WorkingDir"`
		StopSignal   string              `json:"StopSignal"`
		Env          []string            `json:"Env"`
		Entrypoint   []string            `json:"Entrypoint"`
		Cmd          []string            `json:"Cmd"`
		Labels       map[string]string   `json:"Labels"`
		ExposedPorts map[string]struct{} `json:"ExposedPorts"`
		Volumes      map[string]struct{} `json:"Volumes"`
	} `json:"config"`
}

// fill sets what the config object says and returns the platform.
func (c *Config) fill(body []byte) (platform string, err error) {
	var f configFile
	if err := json.Unmarshal(body, &f); err != nil {
		return "", errors.New("its config is malformed") // err may quote it
	}
	c.Created, c.Author = f.Created, f.Author
	c.User, c.WorkingDir, c.StopSignal = f.Config.User, f.Config.WorkingDir, f.Config.StopSignal
	c.Entrypoint, c.Cmd, c.Labels = f.Config.Entrypoint, f.Config.Cmd, f.Config.Labels
	for _, variable := range f.Config.Env {
		name, _, _ := strings.Cut(variable, "=")
		c.Env = append(c.Env, name)
	}
	c.Ports = slices.Sorted(maps.Keys(f.Config.ExposedPorts))
	c.Volumes = slices.Sorted(maps.Keys(f.Config.Volumes))
	if f.OS == "" {
		return "", nil
	}
	return platforms.FormatAll(ocispec.Platform{
		OS: f.OS, OSVersion: f.OSVersion, Architecture: f.Architecture, Variant: f.Variant,
	}), nil
}
