// SPDX-License-Identifier: Apache-2.0

// Package image reads what an image is made of: index, manifests, configs, layers, and what was
// attached to it, such as signatures.
//
//	reader := &image.Reader{Mirrors: mirrors, Resolver: mirrors, Keychain: keys}
//	root, err := reader.Open(ctx, reference, image.Platform{})
//	tree, err := reader.Tree(ctx, root)
//
// All requests go through package registry, with its rules and limits. What a registry sends is
// bounded: the depth of nested indexes, the manifests that are opened, the size of a config and the
// memory for a layer's list of files. Whatever is left out for that reason is said in the result.
// The package verifies digests. It verifies no signature, and downloads nothing from the URLs that
// a manifest names. Texts in the results are as they were sent: escape them for a terminal.
package image

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// Reader reads images. It is safe for concurrent use.
type Reader struct {
	Mirrors  *resolve.Mirrors // asked for manifests, blobs and lists
	Resolver resolve.Resolver // asked for the digests of tags
	Keychain keychain.Keychain
	// Repeat calls ask, which asks a registry, and calls it again where that may help. If nil, ask is
	// called once.
	Repeat func(ctx context.Context, ask func() error) error
}

// ask calls f by way of Repeat.
func (r *Reader) ask(ctx context.Context, f func() error) error {
	if r.Repeat == nil {
		return f()
	}
	return r.Repeat(ctx, f)
}

// Kind says what a manifest is.
type Kind string

// The kinds.
const (
	Index       Kind = "index"       // a list of manifests, usually one for each platform
	Image       Kind = "image"       // what a container runs
	Attestation Kind = "attestation" // statements about an image in the same index
	Artifact    Kind = "artifact"    // anything else that a registry stores, such as a chart
	Other       Kind = "other"       // a manifest of a type that tagpin does not open
)

// Descriptor says where content is and what it is.
type Descriptor struct {
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"` // in bytes
}

// Manifest is an index or a manifest, with what it refers to.
type Manifest struct {
	Kind Kind `json:"kind"`
	Descriptor
	// Platform is that of the image, such as linux/arm64/v8. It is "" if it is unknown.
	Platform     string            `json:"platform,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Subject      digest.Digest     `json:"subject,omitempty"` // the manifest that this one is about
	Annotations  map[string]string `json:"annotations,omitempty"`
	Manifests    []*Manifest       `json:"manifests,omitempty"` // of an index
	Config       *Config           `json:"config,omitempty"`
	Layers       []Layer           `json:"layers,omitempty"`
	// Note says what was left out and why, although nothing is wrong.
	Note string `json:"note,omitempty"`
	// Problem says what could not be read.
	Problem string `json:"problem,omitempty"`
}

// Config is the config object of an image. Of environment variables it has the names alone, because
// values are often secret. Only Descriptor is set if the object is no config of an image.
type Config struct {
	Descriptor
	Created    string            `json:"created,omitempty"`
	Author     string            `json:"author,omitempty"`
	User       string            `json:"user,omitempty"`
	WorkingDir string            `json:"workingDir,omitempty"`
	Entrypoint []string          `json:"entrypoint,omitempty"`
	Cmd        []string          `json:"cmd,omitempty"`
	Env        []string          `json:"env,omitempty"` // names
	Ports      []string          `json:"ports,omitempty"`
	Volumes    []string          `json:"volumes,omitempty"`
	StopSignal string            `json:"stopSignal,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
}

// Layer is a layer of an image, or content of an artifact.
type Layer struct {
	Descriptor
	// Content names what a layer has that is no file system: a statement, a signature, a chart.
	Content string `json:"content,omitempty"`
	// Foreign is true if the layer need not be in the registry. URLs say where else it may be.
	Foreign     bool              `json:"foreign,omitempty"`
	URLs        []string          `json:"urls,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Referrer is a manifest that was attached to an image, such as a signature or an SBOM.
type Referrer struct {
	// Content names what it is.
	Content string `json:"content"`
	Descriptor
	ArtifactType string            `json:"artifactType,omitempty"`
	Of           digest.Digest     `json:"of"`            // the manifest that it is attached to
	Tag          string            `json:"tag,omitempty"` // under which it was found; "" by the registry's API
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// Tree is an image with all that belongs to it.
type Tree struct {
	*Manifest
	// Index is the digest of the index from which the manifest was chosen by its platform, or "".
	Index     digest.Digest `json:"index,omitempty"`
	Referrers []Referrer    `json:"referrers,omitempty"`
	// Unread says what could not be looked up beside the manifests.
	Unread []string `json:"unread,omitempty"`
}

// Root is the manifest that a reference names, before anything that it refers to was read.
type Root struct {
	Ref   ref.Reference // with the digest of the manifest
	Index digest.Digest // of the index that the manifest was chosen from, or ""
	Body  []byte        // the exact bytes, which have the digest
	parsed
}

// Problems returns the problems of the manifest and of those below it, each with its digest.
func (m *Manifest) Problems() (all []string) {
	if m.Problem != "" {
		all = append(all, m.Digest.String()+": "+m.Problem)
	}
	for _, child := range m.Manifests {
		all = append(all, child.Problems()...)
	}
	return all
}
