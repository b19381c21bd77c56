// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

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

// sourceWord and notRegistry match the words in keys and the names of repositories that are of no
// registry, but of Git or of charts, for example.
var (
	sourceWord  = regexp.MustCompile(`(?i)^(?:git|chart|source|backup|restic)s?$`)
	notRegistry = regexp.MustCompile(`(?i)^(?:github|gitlab|bitbucket)\.(?:com|org)/|\.git$`)
	// registryName matches the keys of what is no image, but its text may look like one: host:5000.
	registryName = regexp.MustCompile(`(?i)(?:registry|host|server|mirror|address)$`)
)

// words returns the words of a key: git and Sync of gitSync, git-Sync and git_Sync.
func words(key string) []string {
	return strings.FieldsFunc(newWord.ReplaceAllString(key, "$1$3 $2$4"), func(r rune) bool {
		return !unicode.IsLetter(r)
	})
}

// newWord matches two letters between which a word begins: tS in gitSync, and the IC in OCIChart
// with the next letter.
var newWord = regexp.MustCompile(`([a-z])([A-Z])|([A-Z])([A-Z][a-z])`)

// isSource reports whether the key of a value says that it is for a repository of something else
// than images.
func (c cursor) isSource() bool {
	return c.key != nil && slices.ContainsFunc(words(c.key.Value), sourceWord.MatchString)
}

// hasParts reports whether a mapping in the values of a chart has a repository and a tag, unless
// the name of the repository or a branch says that they are those of Git.
func (c cursor) hasParts() bool {
	repository := c.field("repository").text()
	_, err := ref.Parse(repository)
	return (err == nil || variable(repository)) && repository != "" && c.field("tag").node != nil &&
		!notRegistry.MatchString(repository) && c.field("branch").node == nil
}

// leaveNamed leaves a mapping that has the name of an image and its tag, but no repository.
func (c cursor) leaveNamed() {
	if c.field("repository").text() != "" {
		return
	}
	for _, name := range []string{"name", "repo"} {
		if c.field(name).text() != "" {
			c.partsAreLikely(name, "it has no repository")
			return
		}
	}
}

// partsAreLikely says that a mapping is likely to be an image, and that leaveParts leaves it.
func (c cursor) partsAreLikely(field, why string) {
	c.likely = append(c.likely, likelyValue{
		c.field(field).node, func() { c.leaveParts(field, why) },
	})
}

// leaveParts leaves an image in the values of a chart, of which a field has the name and another
// one the tag. A digest in the tag counts.
func (c cursor) leaveParts(field, why string) {
	name, tag := c.field(field), c.field("tag")
	if !hasValue(tag.node) || tag.node.Kind != yaml.ScalarNode || isGiven(c.field("sha").node) {
		return
	}
	text := name.text() + ":" + tag.node.Value
	r, err := ref.Parse(text)
	other := c.neighboursOf(c.node).repository
	switch {
	case err == nil && r.Pinned():
		tag.addPinned(text)
	case isGiven(c.field("digest").node):
	case (err == nil || variable(text)) && field == "repository" && other != "":
		name.leave(text, other+sameTag)
	case err == nil || variable(text):
		name.leave(text, "it is probably an image, but "+why+"; write its digest after the tag, as in "+
			"1.25@sha256:…")
	}
}

// leaveListed leaves a text among images in the values of a chart, if it has a tag.
func (c cursor) leaveListed() {
	text := strings.TrimSpace(c.text())
	r, err := ref.Parse(text)
	switch {
	case err != nil || !r.Tagged() || registryName.MatchString(c.lowerKey()):
	case r.Pinned():
		c.addPinned(text)
	default:
		c.leave(text, "it is probably an image, but its key does not end with image; write its digest "+
			"there")
	}
}
