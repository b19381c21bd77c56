// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// PushImage pushes a new random image as repository:tag, and returns its digest. An existing tag is
// moved.
func (r *Registry) PushImage(tag string) (string, error) {
	image, err := random.Image(64, 1)
	if err != nil {
		return "", err
	}
	return r.Push(tag, image)
}

// Push pushes an image as repository:tag, and returns its digest.
func (r *Registry) Push(tag string, image v1.Image) (string, error) {
	to, err := r.name(tag)
	if err != nil {
		return "", err
	}
	if err := remote.Write(to, image, r.options()...); err != nil {
		return "", fmt.Errorf("pushing %s: %w", to, err)
	}
	digest, err := image.Digest()
	return digest.String(), err
}

// PushIndex pushes a new random index of two images as repository:tag, and returns the index's
// digest.
func (r *Registry) PushIndex(tag string) (string, error) {
	index, err := random.Index(64, 1, 2)
	if err != nil {
		return "", err
	}
	to, err := r.name(tag)
	if err != nil {
		return "", err
	}
	if err := remote.WriteIndex(to, index, r.options()...); err != nil {
		return "", fmt.Errorf("pushing %s: %w", to, err)
	}
	digest, err := index.Digest()
	return digest.String(), err
}

func (r *Registry) name(tag string) (name.Reference, error) {
	return name.NewTag(r.Host + "/" + tag)
}

func (r *Registry) options() []remote.Option {
	options := []remote.Option{remote.WithTransport(r.transport)}
	if r.auth != Open {
		options = append(options, remote.WithAuth(&authn.Basic{Username: User, Password: Password}))
	}
	return options
}
