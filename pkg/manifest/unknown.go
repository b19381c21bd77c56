// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// leaveKind leaves the images of an object whose kind the table does not have. It returns an error
// if a mapping on the way to one of them has a key twice.
func (f *File) leaveKind(n *yaml.Node, kind workload.Kind) error {
	u := unknownKind{kind: kind}
	root := cursor{walk: &walk{file: f, seen: map[visit]bool{}}, node: n}
	root.each("object", func(field cursor) {
		switch name := field.key.Value; {
		case name == "metadata", name == "status":
		case name == "items" && itemsOf(n) != nil: // objects of their own
		default:
			u.visit(field)
		}
	})
	for _, image := range slices.Concat(u.found, u.likely) {
		if _, err := f.at(n, string(image.pointer)); err != nil {
			return err
		}
	}
	why := u.addPaths()
	for _, image := range u.found {
		image.leaveUnpinned(Left{Text: image.text(), Why: why, Kind: kind})
	}
	for _, image := range u.likely {
		image.leaveLikely(kind)
	}
	function := root.get("metadata").get("annotations").get("config.kubernetes.io/function")
	function.leaveText("an image of a KRM function", inText)
	return root.err()
}

// unknownKind is the search for the images in an object whose kind the table does not have.
type unknownKind struct {
	kind   workload.Kind
	found  []cursor // for certain
	likely []cursor
}

// visit finds the images at a node and below it: those of any pod spec, and other fields that are
// images for certain.
func (u *unknownKind) visit(c cursor) {
	custom := u.kind.Group != "" // the core group has no kind with a field for an image alone
	switch {
	case isPodImage(c) || custom && isImageField(c):
		u.found = append(u.found, c)
	case custom && isLikelyImage(c):
		u.likely = append(u.likely, c)
	}
	c.each("field "+podPart(c.pointer), u.visit)
}

// imageField matches the names of fields that are images in many custom kinds.
var imageField = regexp.MustCompile(`(?i)image(Name)?$`)

// isImageField reports whether a field is an image for certain: a reference with a tag or a digest,
// or with the host of a registry. Machines have images too, whose names have none of these.
func isImageField(c cursor) bool {
	if !imageField.MatchString(c.pointer.LastToken()) {
		return false
	}
	r, err := ref.Parse(c.text())
	return err == nil && (r.Tagged() || r.Pinned() || !r.Short())
}

// addPaths adds the paths to the images to File.Unknown. It returns why they are left.
func (u *unknownKind) addPaths() (why string) {
	why = "no image is known in the kind "
	for _, image := range u.found {
		path := configPath(image.pointer)
		if templateImage.MatchString(path) {
			why = "no pod template is known in the kind "
		}
		image.file.addUnknown(u.kind, path)
	}
	for _, image := range u.likely {
		if text := image.text(); text != "" && !variable(text) {
			image.file.addUnknown(u.kind, configPath(image.pointer))
		}
	}
	return why + u.kind.Kind
}

// addUnknown adds the path to an image in a kind to File.Unknown.
func (f *File) addUnknown(kind workload.Kind, path string) {
	if f.Unknown == nil {
		f.Unknown, f.unknownPaths = map[workload.Kind][]string{}, map[kindPath]bool{}
	}
	if key := (kindPath{kind, path}); !f.unknownPaths[key] {
		f.unknownPaths[key] = true
		f.Unknown[kind] = append(f.Unknown[kind], path)
	}
}

// kindPath is a path in the objects of a kind.
type kindPath struct {
	workload.Kind
	path string
}
