// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// pushHostile pushes hostile:1 to a registry: an index whose texts a terminal or a pipeline would
// obey.
func pushHostile(to string, child v1.Image) error {
	platform := v1.Platform{OS: "lin\x1b[2Jux\ntagpin: fine", Architecture: "\u202eamd64"}
	command := v1.Platform{OS: "::set-output name=x::y", Architecture: "##[error]z"}
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: child, Descriptor: v1.Descriptor{Platform: &platform},
	}, mutate.IndexAddendum{Add: child, Descriptor: v1.Descriptor{Platform: &command}})
	tag, err := name.NewTag(to + "/hostile:1")
	if err != nil {
		return err
	}
	return remote.WriteIndex(tag, index)
}
