// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// imageLine matches a line of a text that is YAML or JSON, if it has an image: its key, or the path
// to it in an operation of a patch.
var imageLine = regexp.MustCompile(`(?im)^[^#\r\n]*(image["']?[ \t]*:|/image["']?[ \t]*([,}]|\r?$))`)

// These are why an image in a text can't be pinned, or in a patch.
const (
	notChanged = "it is in a text, which tagpin does not change"
	inText     = notChanged + "; write its digest there"
	inPatch    = "it is in a patch; write its digest there"
)

// These are why an image can't be pinned that is in no text, in several formats.
const (
	onVariable  = "it depends on a variable; write the image with its digest instead"
	onManyLines = "its text is not on one line; write it on one"
)

// leaveReference adds a reference that can't be pinned where it is, unless it has a digest.
func (c cursor) leaveReference(text, why string) { c.leaveUnpinned(Left{Text: text, Why: why}) }

// leaveUnpinned adds l, whose text is a reference. If that has a digest, it is added to File.Pinned
// instead.
func (c cursor) leaveUnpinned(l Left) {
	if r, err := ref.Parse(l.Text); err == nil && r.Pinned() {
		c.addPinned(l.Text)
		return
	}
	l.Reference = true
	c.leaveAs(l)
}

// addPinned adds a reference with a digest to File.Pinned, unless that was done or it is ignored.
func (c cursor) addPinned(text string) {
	if line, column, ok := c.leaveOnce(); ok {
		c.file.Pinned = append(c.file.Pinned, Pin{line, column, text, string(c.pointer)})
	}
}

// leave adds an image that can't be pinned. text is not a whole reference.
func (c cursor) leave(text, why string) { c.leaveAs(Left{Text: text, Why: why}) }

// leaveAs adds an image to File.Left, unless that was done or the image is ignored.
func (c cursor) leaveAs(l Left) {
	var ok bool
	if l.Line, l.Column, ok = c.leaveOnce(); ok {
		l.Text = cut(l.Text)
		c.file.Left = append(c.file.Left, l)
	}
}

// leaveOnce returns where an image is that is not pinned here. ok is false if it was left before or
// is ignored.
func (c cursor) leaveOnce() (line, column int, ok bool) {
	if c.left[c.use] {
		return 0, 0, false
	}
	if c.left == nil {
		c.left = map[use]bool{}
	}
	c.left[c.use] = true
	p := place{scalar: c.asScalar()}
	if c.file.ignored(p) {
		c.file.Ignored++
		return 0, 0, false
	}
	line, column = c.file.position(p)
	return line, column, true
}

// cut returns a text as long as a reference may be. A longer one stays too long.
func cut(text string) string { return text[:min(len(text), ref.MaxLength+1)] }

// leaveTag leaves an image whose tag is not a text. With a digest beside it, the image may be
// pinned.
func (c cursor) leaveTag(name string, digest cursor) {
	const why = "its tag is not a text; write it in quotes"
	text := strings.TrimSuffix(name+":"+c.node.Value, ":")
	if c.node.Kind == yaml.ScalarNode && !variable(text) && digest.text() == "" {
		c.leaveReference(text, why)
	} else {
		c.leave(text, why)
	}
}

// leaveText leaves a text that names an image, unless all images in it have digests. The package
// does not pin images in texts, because they may be templates or patches.
func (c cursor) leaveText(name, why string) {
	if imageLine.MatchString(c.text()) && !textIsPinned(c.text()) {
		c.leave(name, why)
	}
}

// leavePatches leaves the patches of a Kustomization that have an image. A patch is a text or, in
// older versions of Flux, an object or a list of operations.
func leavePatches(of cursor) {
	for _, field := range []string{"patches", "patchesStrategicMerge", "patchesJson6902"} {
		of.get(field).each("patches", func(patch cursor) {
			patch.leaveText("an image in a patch", inText)
			patch.get("patch").leaveText("an image in a patch", inText)
			patch.leavePatch()
		})
	}
}

// isPatch reports whether a document is a JSON patch (RFC 6902), a list of operations, such as the
// files have that the patches of a Kustomization name.
func isPatch(f *File, n *yaml.Node) bool {
	return n.Kind == yaml.SequenceNode && slices.ContainsFunc(n.Content, f.isOperation)
}

// isOperation reports the same as the function isOperation. It remembers that of each mapping, so
// that it looks at the pairs of one only once, even if many aliases are for it.
func (f *File) isOperation(n *yaml.Node) bool {
	known, ok := f.operations[n]
	if !ok && n.Kind == yaml.MappingNode {
		known = isOperation(n)
		if f.operations == nil {
			f.operations = map[*yaml.Node]bool{}
		}
		f.operations[n] = known
	}
	return known
}

// isOperation reports whether a node is an operation of a JSON patch. Its path is a JSON pointer,
// which is empty for the whole object. What is before the first slash of a path does not count
// (github.com/evanphx/json-patch, which kustomize uses). If the node has a key twice, one of the
// values is enough.
func isOperation(n *yaml.Node) bool {
	if n.Kind != yaml.MappingNode {
		return false
	}
	op, path := false, false
	for p := range slices.Chunk(n.Content, 2) {
		value, isText := text(p[1]), kindOf(p[1]) == '"'
		switch p[0].Value {
		case "op":
			op = op || value != ""
		case "path":
			path = path || isText && (value == "" || strings.Contains(value, "/"))
		}
	}
	return op && path
}

func findPatch(_ *walk, root cursor) { root.leavePatch() }

// leavePatch leaves the images in a patch that is no text: an object that is merged, or operations
// of a JSON patch.
func (c cursor) leavePatch() {
	switch {
	case c.node != nil && c.file.isOperation(c.node):
		c.leaveOperation()
	case isPodImage(c) || isImageField(c):
		c.leaveReference(c.text(), inPatch)
	default:
		c.each("patch "+podPart(c.pointer), cursor.leavePatch)
	}
}

// leaveOperation leaves the images in the value of an operation, and those that it copies or moves
// from another place. The operations test and remove bring no image into the object. The pointers
// start at the root of the patched object, and so they tell which texts are images.
func (c cursor) leaveOperation() {
	value, from, path := c.get("value"), c.get("from"), c.get("path")
	pointer := path.text()
	pointer = pointer[max(strings.Index(pointer, "/"), 0):]
	switch c.get("op").text() {
	case "add", "replace":
		value.pointer = jsontext.Pointer(pointer)
		value.leavePatch()
	case "copy", "move":
		if mayHaveImage(pointer) {
			path.leave("an image at "+cmp.Or(pointer, "the root"), "a patch takes it from "+from.text()+
				"; write it as a value, with its digest")
		}
	}
}

// aboveImage matches the pointers to values that may have a pod spec, and to those of its parts
// that may have images.
var aboveImage = regexp.MustCompile(`^$|/(?:spec|template|jobTemplate)$|/(?:` +
	strings.Join(workload.ContainerLists[:], "|") + `|volumes)(?:/(?:[-+]?\d+|-)(?:/image)?)?$`)

// mayHaveImage reports whether a pointer is that of an image, or of a value that may have one.
func mayHaveImage(pointer string) bool {
	return podImage.MatchString(pointer) || imageField.MatchString(pointer) ||
		aboveImage.MatchString(pointer)
}

// podImage matches the pointers to the images in a pod spec: those of containers and of volumes.
var podImage = regexp.MustCompile(`/(?:` + strings.Join(workload.ContainerLists[:], "|") +
	`)/(?:[-+]?\d+|-)/image$|/volumes/(?:[-+]?\d+|-)/image/reference$`)

// anIndex matches the step of a pointer to an element of a list.
var anIndex = regexp.MustCompile(`^([-+]?\d+|-)$`)

// podPart returns which part of a pod spec is at a pointer, if it is one on the way to an image: a
// list of containers or volumes, an element of it, or the image of a volume. Otherwise it returns
// "". Where two pointers have the same part, isPodImage finds the same texts below both.
func podPart(p jsontext.Pointer) role {
	isList := func(name string) bool {
		return name == "volumes" || slices.Contains(workload.ContainerLists[:], name)
	}
	parent := p.Parent()
	last, above := p.LastToken(), parent.LastToken()
	switch {
	case isList(last):
		return role(last)
	case isList(above) && anIndex.MatchString(last):
		return role(above + "[*]")
	case last == "image" && anIndex.MatchString(above) && parent.Parent().LastToken() == "volumes":
		return "volumes[*].image"
	}
	return ""
}

// isPodImage reports whether a text is an image in a pod spec, as its pointer tells.
func isPodImage(c cursor) bool {
	return strings.TrimSpace(c.text()) != "" && podImage.MatchString(string(c.pointer))
}

// parameterName matches the names of Helm's parameters that are an image or a part of one.
var parameterName = regexp.MustCompile(`(?i)image(\.?(tag|digest|repository|name))?$`)

// leaveSource leaves the images in a source of an Application that are no values of a chart.
func leaveSource(source cursor) {
	helm := source.get("helm")
	helm.get("values").leaveText("an image in helm.values",
		notChanged+"; use helm.valuesObject")
	helm.get("parameters").each("parameters", func(parameter cursor) {
		name, value := parameter.get("name").text(), parameter.get("value")
		if parameterName.MatchString(name) && value.node != nil && value.node.Kind == yaml.ScalarNode {
			value.leave(name+"="+value.node.Value, "it is a parameter of Helm; use helm.valuesObject")
		}
	})
	leavePatches(source.get("kustomize"))
	source.get("kustomize").get("images").each("names", func(image cursor) {
		const why = "it is an image of kustomize in an Application; write its digest there, or pin it " +
			"in the Kustomization"
		_, name, renamed := strings.Cut(image.text(), "=")
		if !renamed {
			name = image.text()
		}
		r, err := ref.Parse(name)
		switch {
		case err == nil && r.Tagged():
			image.leaveReference(name, why)
		case image.text() != "" && !strings.Contains(image.text(), "@"):
			image.leave(image.text(), why)
		}
	})
}
