// SPDX-License-Identifier: Apache-2.0

package node

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/tagpin/tagpin/e2e/tools"
)

// pauseImage is the image of the pods' sandboxes.
const pauseImage = registryAddress + "/node/pause:1"

// nobody is the user of all images of this package.
const nobody = "65532:65532"

func (n *Node) pushPause(ctx context.Context) error {
	binary, err := n.build(ctx, filepath.Join(n.root, "e2e"), "./node/pause")
	if err != nil {
		return err
	}
	image, err := newImage("/pause", nobody, map[string][]byte{"pause": binary})
	if err != nil {
		return err
	}
	_, err = n.Registry.Push("node/pause:1", image)
	return err
}

// AppImage makes an image whose program answers with code over HTTP, on port 8080.
func (n *Node) AppImage(ctx context.Context, code string) (v1.Image, error) {
	binary, err := n.build(ctx, filepath.Join(n.root, "e2e"), "./node/app")
	if err != nil {
		return nil, err
	}
	return newImage("/app", nobody,
		map[string][]byte{"app": binary}, map[string][]byte{"code": []byte(code)})
}

// build builds a static program of a module, and returns its content.
func (n *Node) build(ctx context.Context, module, pkg string) ([]byte, error) {
	path := n.file(filepath.Join("built", filepath.Base(pkg)))
	err := tools.Go(ctx, module, "build", "-trimpath", "-ldflags=-s -w", "-o", path, pkg)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// newImage makes an image for this machine's architecture that runs entrypoint. Each element of
// layers maps names to files.
func newImage(entrypoint, user string, layers ...map[string][]byte) (image v1.Image, err error) {
	image = empty.Image
	for _, files := range layers {
		layer, err := newLayer(files)
		if err != nil {
			return nil, err
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			return nil, err
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Entrypoint, config.Config.User = []string{entrypoint}, user
	return mutate.ConfigFile(image, config)
}

func newLayer(files map[string][]byte) (v1.Layer, error) {
	var all bytes.Buffer
	w := tar.NewWriter(&all)
	// The order is fixed, so that the same files make the same layer.
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{
			Name: name, Mode: 0o755, Size: int64(len(files[name])), Typeflag: tar.TypeReg,
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(all.Bytes())), nil
	})
}
