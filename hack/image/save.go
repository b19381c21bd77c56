// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// save writes the release to dir as an OCI image layout, and the SBOMs to files beside it. It
// replaces an older layout. If dir contains anything else, it returns an error.
//
// https://github.com/opencontainers/image-spec/blob/main/image-layout.md
func (r release) save(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "oci-layout")); len(entries) > 0 && err != nil {
		return fmt.Errorf("--output %s: the folder has files, but no OCI image layout", dir)
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
	newLayout := filepath.Join(tmp, "layout")
	if err := r.writeLayout(newLayout); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Rename(newLayout, dir); err != nil {
		return err
	}
	return r.saveSBOMs(dir)
}

// writeLayout writes the layout. The index of the layout names the version of the image. It also
// lists the SBOMs, because nothing else in the layout refers to them.
func (r release) writeLayout(dir string) error {
	to, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	refName := map[string]string{"org.opencontainers.image.ref.name": r.src.version}
	if err := to.AppendIndex(r.index, layout.WithAnnotations(refName)); err != nil {
		return err
	}
	created := layout.WithAnnotations(r.src.createdAnnotation())
	for _, p := range r.parts {
		if err := to.AppendImage(p.artifact, created); err != nil {
			return err
		}
	}
	return nil
}

// saveSBOMs writes the SBOMs to files such as image.linux-amd64.cdx.json. It removes those of
// earlier builds, which may be for other platforms.
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
		file := dir + sbomName(p.platform)
		if err := os.WriteFile(file, p.sbom, 0o644); err != nil { //nolint:gosec // not secret
			return err
		}
	}
	return nil
}

// sbomName returns the end of the name of a platform's SBOM.
func sbomName(p v1.Platform) string { return "." + p.OS + "-" + p.Architecture + sbomSuffix }

// push pushes the release to a tag. It writes the tag last, so that the tag never leads to an image
// without its SBOMs.
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
		digest, err := p.artifact.Digest()
		if err != nil {
			return err
		}
		if err := pusher.Push(ctx, repo.Digest(digest.String()), p.artifact); err != nil {
			return err
		}
	}
	return pusher.Push(ctx, tag, r.index)
}
