// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// save writes the image layout, and the SBOMs beside it: https://github.com/opencontainers/image-spec/blob/main/image-layout.md.
// It replaces a layout, and nothing else.
func (r release) save(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "oci-layout")); len(entries) > 0 && err != nil {
		return fmt.Errorf("--output %s: there is something else", dir)
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(parent, ".image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	whole := filepath.Join(tmp, "layout")
	if err := r.write(whole); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Rename(whole, dir); err != nil {
		return err
	}
	return r.saveSBOMs(dir)
}

// write writes the layout. Its own index names the image by its version, and the SBOMs, which nothing else there leads to.
func (r release) write(dir string) error {
	to, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := to.AppendIndex(r.index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": r.src.version})); err != nil {
		return err
	}
	for _, p := range r.parts {
		manifest := p.attached.descriptor
		if err := to.WriteBlob(manifest.Digest, io.NopCloser(bytes.NewReader(p.attached.manifest))); err != nil {
			return err
		}
		for _, blob := range p.attached.blobs {
			digest, err := blob.Digest()
			if err != nil {
				return err
			}
			content, err := blob.Compressed()
			if err != nil {
				return err
			}
			if err := to.WriteBlob(digest, content); err != nil {
				return err
			}
		}
		if err := to.AppendDescriptor(manifest); err != nil {
			return err
		}
	}
	return nil
}

// saveSBOMs writes them as image.linux-amd64.cdx.json, and removes those of platforms that were built before.
func (r release) saveSBOMs(dir string) error {
	old, err := filepath.Glob(dir + ".*" + sbomSuffix)
	if err != nil {
		return err
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	for _, p := range r.parts {
		if err := os.WriteFile(dir+sbomName(p.platform), p.sbom, 0o644); err != nil { //nolint:gosec // it is for everybody
			return err
		}
	}
	return nil
}

// sbomName is what the name of a platform's SBOM ends with.
func sbomName(p v1.Platform) string { return "." + p.OS + "-" + p.Architecture + sbomSuffix }

// push moves the tag last, so that it never leads to an image without its SBOMs.
func (r release) push(ctx context.Context, ref string) error {
	tag, err := name.NewTag(ref, name.StrictValidation)
	if err != nil {
		return err
	}
	pusher, err := remote.NewPusher(remoteOptions(ctx)...)
	if err != nil {
		return err
	}
	digest, err := r.index.Digest()
	if err != nil {
		return err
	}
	repo := tag.Context()
	if err := pusher.Push(ctx, repo.Digest(digest.String()), r.index); err != nil {
		return err
	}
	for _, p := range r.parts {
		for _, blob := range p.attached.blobs {
			if err := pusher.Upload(ctx, repo, blob); err != nil {
				return err
			}
		}
		if err := pusher.Push(ctx, repo.Digest(p.attached.descriptor.Digest.String()), p.attached); err != nil {
			return err
		}
	}
	return pusher.Push(ctx, tag, r.index)
}
