// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
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
	if err := f.addExpanded(n.Line, root.size()); err != nil {
		return err
	}
	for _, image := range slices.Concat(u.found, u.likely) {
		if _, err := f.at(n, string(image.pointer)); err != nil {
			return err
		}
	}
	why, hint := u.why()
	for _, image := range u.found {
		image.leaveUnpinned(Left{Text: image.text(), Why: why, Hint: hint})
	}
	untagged := slices.DeleteFunc(slices.Clone(u.likely), func(c cursor) bool {
		return c.text() == "" || variable(c.text())
	})
	_, hint = (&unknownKind{kind: kind, found: untagged}).why()
	for _, image := range u.likely {
		image.leaveLikely(kind.Kind, hint)
	}
	function := root.get("metadata").get("annotations").get("config.kubernetes.io/function")
	function.leaveText("an image of a KRM function", inText)
	return root.twice
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

// why says why the images of this kind are left, and how to make them known.
func (u *unknownKind) why() (why, hint string) {
	templates, others := u.paths()
	why, entry := "no image is known in the kind ", ""
	if len(templates) > 0 {
		why, entry = "no pod template is known in the kind ", ", paths: "+list(templates)
	}
	if len(others) > 0 {
		entry += ", images: " + list(others)
	}
	entry = fmt.Sprintf("{group: %s, kind: %s%s}", cmp.Or(u.kind.Group, `""`), u.kind.Kind, entry)
	texts := append(slices.Concat(templates, others), cmp.Or(u.kind.Group, "core"), u.kind.Kind)
	odd := func(text string) bool { return !plain.MatchString(text) }
	if len(texts) > maxTexts || slices.ContainsFunc(texts, odd) {
		entry = "it"
	}
	return why + u.kind.Kind, "add " + entry + " to `templates` in the config file that " +
		"--config names"
}

// maxTexts bounds the paths in a message, which should be read by a person.
const maxTexts = 10

// plain matches paths and names that the config can have as they are; [*] needs quotes.
var plain = regexp.MustCompile(`^[\w-]+(\[\*\])?(\.[\w-]+(\[\*\])?)*$`)

// templateImage matches the path to an image in a pod template.
var templateImage = regexp.MustCompile(`^(.*)\.spec\.(?:(?:` +
	strings.Join(workload.ContainerLists[:], "|") + `)\[\*\]\.image|volumes\[\*\]\.image\.reference)$`)

// paths returns the paths to the pod templates and to the other images that were found, as the
// config has them.
func (u *unknownKind) paths() (templates, others []string) {
	seen := map[string]bool{}
	for _, image := range u.found {
		path, to := configPath(image.pointer), &others
		if m := templateImage.FindStringSubmatch(path); m != nil {
			path, to = m[1], &templates
		}
		if !seen[path] {
			seen[path] = true
			*to = append(*to, path)
		}
	}
	return templates, others
}

// configPath returns the path that the config has for a pointer.
func configPath(p jsontext.Pointer) string {
	var path strings.Builder
	for token := range p.Tokens() {
		if _, err := strconv.Atoi(token); err == nil {
			path.WriteString("[*]")
		} else {
			path.WriteString("." + token)
		}
	}
	return strings.TrimPrefix(path.String(), ".")
}

// list returns paths as a list in YAML.
func list(paths []string) string {
	texts := slices.Clone(paths)
	for i, path := range texts {
		if strings.Contains(path, "[") {
			texts[i] = strconv.Quote(path)
		}
	}
	return "[" + strings.Join(texts, ", ") + "]"
}
