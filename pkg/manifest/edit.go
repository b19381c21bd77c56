// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// replacement is the new text of a scalar, and the bytes that it replaces.
type replacement struct {
	span
	value *value
	text  string
}

// Edit returns the content of the file with the edits applied. All other bytes stay the same. The
// edits must belong to objects of this stream. References that share one scalar through an alias
// change together, so it is an error if two edits give that scalar different texts. Errors are like
// those of Parse.
func (s *Stream) Edit(edits []Edit) ([]byte, error) {
	replacements, err := s.replacements(edits)
	if err != nil {
		return nil, err
	}
	if len(replacements) == 0 {
		return s.data, nil
	}
	var b bytes.Buffer
	end := 0
	for _, r := range replacements {
		b.Write(s.data[end:r.start])
		b.Write(r.encoded(s.data))
		end = r.end
	}
	b.Write(s.data[end:])
	return b.Bytes(), s.check(b.Bytes(), replacements)
}

// replacements returns one replacement for each edited scalar, in the order of the file.
func (s *Stream) replacements(edits []Edit) ([]replacement, error) {
	var found []replacement
	seen := map[*value]string{}
	for _, e := range edits {
		v := e.Object.value(e.Reference)
		if v == nil || v.kind != '"' {
			return nil, s.errorf(e.Object.root.line, "%s has no text to replace", e.Reference.Name)
		}
		if before, ok := seen[v]; ok {
			if before != e.Text {
				return nil, s.errorf(v.line, "can't replace %s with both %s and %s: its references share "+
					"one text through an alias", e.Reference.Text, before, e.Text)
			}
			continue
		}
		seen[v] = e.Text
		at, err := s.span(v)
		if err != nil {
			return nil, s.errorf(v.line, "editing %s: %v", e.Reference.Text, err)
		}
		found = append(found, replacement{at, v, e.Text})
	}
	slices.SortFunc(found, func(a, b replacement) int { return cmp.Compare(a.start, b.start) })
	return found, nil
}

// span returns the bytes of a scalar, including its quotes.
func (s *Stream) span(v *value) (span, error) {
	if v.node == nil {
		return v.span, nil
	}
	return s.yamlSpan(v.node)
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

// check parses the edited file and returns an error if it differs from the original in anything but
// the replaced scalars.
func (s *Stream) check(edited []byte, replacements []replacement) error {
	again, err := Parse(s.Name, edited, s.table)
	if err != nil || len(again.documents) != len(s.documents) {
		first := replacements[0].value
		return s.errorf(first.line, "editing %s would break the file", first.text)
	}
	c := comparison{want: map[*value]string{}, seen: map[*value]bool{}}
	for _, r := range replacements {
		c.want[r.value] = r.text
	}
	for i, root := range s.documents {
		if bad := c.difference(root, again.documents[i]); bad != nil {
			return s.errorf(bad.line, "editing the file would change the meaning of this line")
		}
	}
	return nil
}

// comparison compares the values of a file before and after an edit.
type comparison struct {
	want map[*value]string // the expected texts of edited scalars, by the scalar before the edit
	seen map[*value]bool   // values before the edit that were compared already, through an alias
}

// difference returns the first value before the edit that has an unexpected counterpart after it,
// or nil if there is none.
func (c *comparison) difference(before, after *value) *value {
	if c.seen[before] {
		return nil
	}
	c.seen[before] = true
	text, ok := c.want[before]
	if !ok {
		text = before.text
	}
	if before.kind != after.kind || after.text != text ||
		len(before.keys) != len(after.keys) || len(before.items) != len(after.items) {
		return before
	}
	for i, k := range before.keys {
		if bad := c.difference(k, after.keys[i]); bad != nil {
			return bad
		}
	}
	for i, item := range before.items {
		if bad := c.difference(item, after.items[i]); bad != nil {
			return bad
		}
	}
	return nil
}
