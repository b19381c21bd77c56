// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// span is a range of a file's bytes.
type span struct{ start, end int }

// replacement is the new text of a scalar, and the bytes that it replaces.
type replacement struct {
	span
	text string
}

// Edit returns the content of the file with the edits applied. All other bytes stay the same. The
// edits must belong to objects of this stream. References that share one scalar through an alias
// change together, so it is an error if two edits give that scalar different texts. Errors are like
// those of Parse.
func (s *Stream) Edit(edits []Edit) ([]byte, error) {
	replacements, err := s.replacements(edits)
	if err != nil || len(replacements) == 0 {
		return s.data, err
	}
	inOrder := slices.SortedFunc(maps.Keys(replacements), func(a, b *yaml.Node) int {
		return cmp.Compare(replacements[a].start, replacements[b].start)
	})
	var b bytes.Buffer
	end := 0
	for _, n := range inOrder {
		r := replacements[n]
		b.Write(s.data[end:r.start])
		b.Write(r.encoded(s.data))
		end = r.end
	}
	b.Write(s.data[end:])
	again, err := Parse(s.Name, b.Bytes(), s.table)
	if err != nil || len(again.documents) != len(s.documents) {
		return nil, s.errorf(inOrder[0].Line, "editing %s would break the file", inOrder[0].Value)
	}
	c := comparison{replacements, map[*yaml.Node]bool{}}
	for i, root := range s.documents {
		if bad := c.difference(root, again.documents[i]); bad != nil {
			return nil, s.errorf(bad.Line, "editing the file would change the meaning of this line")
		}
	}
	return b.Bytes(), nil
}

// replacements returns the replacement of each edited scalar.
func (s *Stream) replacements(edits []Edit) (map[*yaml.Node]replacement, error) {
	found := map[*yaml.Node]replacement{}
	for _, e := range edits {
		n := e.Object.node(e.Reference)
		if n == nil || kindOf(n) != '"' {
			return nil, s.errorf(e.Object.root.Line, "%s has no text to replace", e.Reference.Name)
		}
		if before, ok := found[n]; ok && before.text != e.Text {
			return nil, s.errorf(n.Line, "can't replace %s with both %s and %s: its references share "+
				"one text through an alias", e.Reference.Text, before.text, e.Text)
		}
		at, err := s.span(n)
		if err != nil {
			return nil, s.errorf(n.Line, "editing %s: %v", e.Reference.Text, err)
		}
		found[n] = replacement{at, e.Text}
	}
	return found, nil
}

// encoded returns the new text in the same quotes as the old text.
func (r *replacement) encoded(data []byte) []byte {
	switch data[r.start] {
	case '"':
		quoted, _ := jsontext.AppendQuote(nil, r.text) // it only fails on invalid UTF-8
		return quoted
	case '\'':
		return []byte("'" + r.text + "'")
	}
	return []byte(r.text)
}

// comparison compares the nodes of a file before and after an edit.
type comparison struct {
	replacements map[*yaml.Node]replacement // by the node before the edit
	seen         map[*yaml.Node]bool        // nodes before the edit that were compared already
}

// difference returns the first node before the edit that has an unexpected counterpart after it, or
// nil if there is none. It compares a node once, however many aliases it has.
func (c *comparison) difference(before, after *yaml.Node) *yaml.Node {
	if c.seen[before] {
		return nil
	}
	c.seen[before] = true
	want := before.Value
	if r, ok := c.replacements[before]; ok {
		want = r.text
	}
	if kindOf(before) != kindOf(after) || after.Value != want ||
		len(before.Content) != len(after.Content) {
		return before
	}
	for i, n := range before.Content {
		if bad := c.difference(n, after.Content[i]); bad != nil {
			return bad
		}
	}
	return nil
}
