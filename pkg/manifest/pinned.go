// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/ref"
)

// textIsPinned reports whether a text is YAML or JSON, such as a patch, and all of its images have
// digests. It returns false for what it can't tell, such as a template that is no YAML.
func textIsPinned(text string) bool {
	f := &File{data: []byte(text), lines: newLineIndex([]byte(text))}
	s := unpinnedSearch{}
	return f.parse() == nil && !slices.ContainsFunc(f.documents, s.found)
}

// unpinnedSearch is the search for an image without a digest in a text. It has the values that were
// looked at: a text can contain the same one many times by aliases.
type unpinnedSearch map[*yaml.Node]bool

// found reports whether a value may have an image without a digest.
func (s unpinnedSearch) found(n *yaml.Node) bool {
	if s[n] {
		return false
	}
	s[n] = true
	switch n.Kind {
	case yaml.ScalarNode:
		return imageLine.MatchString(n.Value)
	case yaml.SequenceNode:
		return slices.ContainsFunc(n.Content, s.found)
	case yaml.MappingNode:
		if isOperation(n) {
			return s.inOperation(n)
		}
		for pair := range slices.Chunk(n.Content, 2) {
			if s.inField(pair[0].Value, pair[1]) {
				return true
			}
		}
	}
	return false
}

// inField is like found, for the value of a field.
func (s unpinnedSearch) inField(name string, value *yaml.Node) bool {
	if imageField.MatchString(name) {
		return !isPinned(value) && !isPinned(get(value, "reference")) // of a volume
	}
	return s.found(value)
}

// inOperation is like found, for an operation of a JSON patch. It must have each field once.
func (s unpinnedSearch) inOperation(n *yaml.Node) bool {
	fields := map[string]*yaml.Node{}
	for pair := range slices.Chunk(n.Content, 2) {
		if fields[pair[0].Value] != nil {
			return true
		}
		fields[pair[0].Value] = pair[1]
	}
	path, value := text(fields["path"]), fields["value"]
	switch text(fields["op"]) {
	case "test", "remove":
		return false
	case "add", "replace":
		if imageField.MatchString(path) || podImage.MatchString(path) {
			return !isPinned(value)
		}
		return value != nil && s.found(value)
	}
	return mayHaveImage(path)
}

// isPinned reports whether a value is a reference with a digest.
func isPinned(n *yaml.Node) bool {
	r, err := ref.Parse(text(n))
	return err == nil && r.Pinned()
}
