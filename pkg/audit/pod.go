// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Pod has what an audit needs of a pod.
type Pod struct {
	Namespace, Name string
	// Owner is the controller of the pod. It is zero if there is none.
	Owner      Owner
	Identity   workload.Identity
	Containers []Container
	// TooMany is true if the pod has more than workload.MaxReferences images, so that Containers does
	// not have them.
	TooMany bool
	// Unread is why the pod could not be read. It is empty if the pod was read. Otherwise there are no
	// Containers, Name may be empty, and the pod counts as one container, which is unknown.
	Unread string
}

// Owner is the controller of an object.
type Owner struct{ Group, Kind, Name, UID string }

// Type is the kind of a container.
type Type string

// The types. A volume is an image volume.
const (
	TypeContainer Type = "container"
	TypeInit      Type = "init"
	TypeEphemeral Type = "ephemeral"
	TypeVolume    Type = "volume"
)

// Container is a container of a pod, or an image volume.
type Container struct {
	Name string
	Type Type
	// Image is the text in the pod spec.
	Image string
	// ImageID is what the status says about the image. It is empty if the container has not started,
	// or if nodes don't report the images of volumes.
	ImageID string
	// Mounted is true for an image volume if a container of its pod has started.
	Mounted bool
	// Never is true if the image is never pulled: its imagePullPolicy, or pullPolicy of a volume, is
	// Never.
	Never bool

	unread string // Pod.Unread, if the container stands for a pod that could not be read
}

// ran reports whether the status says that the image has run, or was mounted.
func (c Container) ran() bool { return c.ImageID != "" || c.Mounted }

// configID matches the digest of an image's config. CRI-O leaves out the algorithm.
var configID = regexp.MustCompile(`^(?:sha256:)?[0-9a-f]{64}$`)

// reported is what an imageID says.
type reported struct {
	// image is the name that the node has for the image, with the digest. It is zero if the ID names
	// no repository.
	image ref.Reference
	// reason is why there is no image, or "" if nothing is reported.
	reason string
}

// parseImageID parses an imageID. Its forms are in the doc of the package.
func parseImageID(id string) reported {
	const noName = "the node does not know the image by a registry's digest, as if it was built or " +
		"loaded there"
	for _, scheme := range []string{"docker-pullable://", "docker://"} {
		id = strings.TrimPrefix(id, scheme)
	}
	switch {
	case id == "":
		return reported{}
	case configID.MatchString(id):
		return reported{reason: noName}
	}
	image, err := ref.Parse(id)
	if err != nil || !image.Pinned() {
		return reported{reason: noName}
	}
	return reported{image: image}
}

// digest returns the digest that is reported, or "" if there is none.
func (r reported) digest() digest.Digest { return r.image.Digest() }
