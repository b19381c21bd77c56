// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

var (
	// otherImage matches the names of fields for the images of machines.
	otherImage = regexp.MustCompile(`(?i)(?:boot|disk|machine|node|os|vm)[-_]?image(?:Name)?$`)
	// imageFile matches the names of files with pictures or disks.
	imageFile = regexp.MustCompile(
		`(?i)\.(?:gif|ico|img|iso|jpe?g|ova|png|qcow2?|raw|svg|vhdx?|vmdk|webp)$`)
	// inserted matches what other programs replace by a value, such as $(params.image).
	inserted = regexp.MustCompile(`\{\{[^{}]*\}\}|\$\{[^{}]*\}|\$\([^()]*\)`)
)

// isLikelyImage reports whether a field of a custom kind is likely to be an image, but is not for
// certain: a reference without a tag, a text with variables, or a mapping with a repository. It has
// a name that isImageField knows.
func isLikelyImage(c cursor) bool {
	name := c.pointer.LastToken()
	if !imageField.MatchString(name) || otherImage.MatchString(name) {
		return false
	}
	if c.node != nil && c.node.Kind == yaml.MappingNode {
		r, err := ref.Parse(c.get("repository").text())
		return err == nil && !r.Pinned() && !c.hasDigest() && !isGiven(c.get("sha").node)
	}
	_, err := ref.Parse(inserted.ReplaceAllString(c.text(), "x"))
	return err == nil && !imageFile.MatchString(c.text())
}

// leaveLikely leaves what isLikelyImage reports. kind is that of the object.
func (c cursor) leaveLikely(kind workload.Kind) {
	switch repository := c.get("repository"); {
	case variable(c.text()):
		c.leave(c.text(), onVariable)
	case repository.node == nil:
		c.leaveAs(Left{
			Text: c.text(), Why: "it has no tag, and no image is known in the kind " + kind.Kind,
			Kind: kind, Instead: "if it is one, write its digest",
		})
	default:
		repository.leave(repository.text(), "it is probably the repository of an image, but no image is "+
			"known in the kind "+kind.Kind+"; write the digest of the image after its tag, as in "+
			"1.25@sha256:…, or in a field digest beside it")
	}
}
