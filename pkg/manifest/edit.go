// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// replacement is a new text for the bytes of a scalar.
type replacement struct {
	span
	value *value
	text  string
}

// Edit is the file with new texts for references, whatever else it holds byte for byte as it was. The edits are of this
// stream's objects. References that share one scalar by an alias change together: their author says that they are the
// same; two edits of it must agree. Its error is an *Error.
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
	return b.Bytes(), s.confirm(b.Bytes(), replacements)
}

// replacements finds the bytes of each edit, once each, in the order of the file.
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
				return nil, s.errorf(v.line, "by an alias, %s is to be both %s and %s", e.Reference.Text, before, e.Text)
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

// span is where a scalar stands, with its quotes.
func (s *Stream) span(v *value) (span, error) {
	if v.node == nil {
		return v.span, nil
	}
	return s.yamlSpan(v.node)
}

// encoded is the new text in the quotes that the old one has.
func (r *replacement) encoded(data []byte) []byte {
	switch data[r.start] {
	case '"':
		quoted, _ := jsontext.AppendQuote(nil, r.text) // fails on invalid UTF-8 alone
		return quoted
	case '\'':
		return []byte("'" + r.text + "'")
	}
	return []byte(r.text)
}

// confirm reads the edited file: it must say what it said before, but for what was edited.
func (s *Stream) confirm(edited []byte, replacements []replacement) error {
	again, err := Parse(s.Name, edited, s.table)
	if err != nil || len(again.documents) != len(s.documents) {
		return s.errorf(replacements[0].value.line, "editing %s would break the file", replacements[0].value.text)
	}
	c := comparison{want: map[*value]string{}, seen: map[*value]bool{}}
	for _, r := range replacements {
		c.want[r.value] = r.text
	}
	for i, root := range s.documents {
		if bad := c.differ(root, again.documents[i]); bad != nil {
			return s.errorf(bad.line, "editing the file would change what this line says")
		}
	}
	return nil
}

// comparison compares values before and after an edit.
type comparison struct {
	want map[*value]string
	seen map[*value]bool // of the values before: aliases are compared once
}

// differ is the first value that is not as it should be; nil where all are.
func (c *comparison) differ(before, after *value) *value {
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
		if bad := c.differ(k, after.keys[i]); bad != nil {
			return bad
		}
	}
	for i, item := range before.items {
		if bad := c.differ(item, after.items[i]); bad != nil {
			return bad
		}
	}
	return nil
}
