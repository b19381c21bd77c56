// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	e2eregistry "github.com/tagpin/tagpin/e2e/registry"
)

// repository is the repository of the images, if a registry has no other one.
const repository = "team/app"

// contents are the tags that every store has, with the media types of their manifests.
var contents = map[string]types.MediaType{
	"oci-image":    types.OCIManifestSchema1,
	"oci-index":    types.OCIImageIndex,
	"docker-image": types.DockerManifestSchema2,
	"docker-list":  types.DockerManifestList,
}

// push pushes a new random image or index to an endpoint with plain HTTP, and returns its digest.
// Open registries don't ask for the password.
func (e *endpoint) push(t testing.TB, tag string, of types.MediaType) digest.Digest {
	t.Helper()
	to, err := name.NewTag(e.host.Name+"/"+e.repository+":"+tag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	options := []remote.Option{
		remote.WithTransport(&http.Transport{DisableKeepAlives: true}),
		remote.WithAuth(&authn.Basic{Username: e2eregistry.User, Password: e.password}),
	}
	var pushed partial.Describable
	if of.IsIndex() {
		index := newIndex(t, of)
		pushed, err = index, remote.WriteIndex(to, index, options...)
	} else {
		image := newImage(t, of)
		pushed, err = image, remote.Write(to, image, options...)
	}
	if err != nil {
		t.Fatalf("pushing %s: %v", to, err)
	}
	d, err := pushed.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.Digest(d.String())
}

// newImage makes an image with Docker's or with OCI's media types.
func newImage(t testing.TB, of types.MediaType) v1.Image {
	t.Helper()
	layer, config := types.DockerLayer, types.DockerConfigJSON
	if of == types.OCIManifestSchema1 {
		layer, config = types.OCILayer, types.OCIConfigJSON
	}
	content, err := random.Layer(64, layer)
	if err != nil {
		t.Fatal(err)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, of), config)
	image, err := mutate.AppendLayers(base, content)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// newIndex makes an index for two platforms. A registry that converts indexes would answer with the
// first platform's image.
func newIndex(t testing.TB, of types.MediaType) v1.ImageIndex {
	t.Helper()
	child := types.OCIManifestSchema1
	if of == types.DockerManifestList {
		child = types.DockerManifestSchema2
	}
	index := mutate.IndexMediaType(empty.Index, of)
	for _, architecture := range []string{"amd64", "arm64"} {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        newImage(t, child),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}},
		})
	}
	return index
}
