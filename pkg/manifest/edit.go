// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/workload"
)

// span is a range of a file's bytes.
type span struct{ start, end int }

// Edit replaces the text of one reference of an object. If the reference has its digest in a scalar
// of its own, or in that of the tag, only the digest of the text is used.
type Edit struct {
	Object    *Object
	Reference workload.Reference
	Text      string
}

// Result returns the text that the reference has in the edited file. If its digest is in a scalar
// of its own, or in that of the tag, it keeps its name and its tag, even if the edit's text has
// others or no tag.
func (e Edit) Result() string {
	p := e.Object.places[e.Reference.Pointer]
	_, digest, ok := strings.Cut(e.Text, "@")
	if p.node == nil || p.part == whole || !ok {
		return e.Text
	}
	stays, _, _ := strings.Cut(e.Reference.Text, "@")
	return stays + "@" + digest
}

// revision is a set of edits: what changes in the bytes, and what must have changed in the tree
// when the result is parsed.
type revision struct {
	file    *File
	texts   map[span]string          // the new text of each changed span, without quotes
	bytes   map[span]string          // the same as bytes of the file
	values  map[*yaml.Node]string    // the new texts of scalars
	digests map[*yaml.Node]newDigest // what is added to mappings
	edited  map[use]*yaml.Node       // the scalars that have a new text, by the places of references
}

// newDigest is a key and its value that are added to a mapping, after another value.
type newDigest struct {
	after *yaml.Node
	text  string
}

// Edit returns the content of the file with the edits applied. All other bytes stay the same. The
// edits must belong to objects of this file. References that share one scalar through an alias
// change together, so it is an error if two edits give that scalar different texts, or if it has
// another use that is not edited. Errors are like those of Parse.
func (f *File) Edit(edits []Edit) ([]byte, error) {
	r := revision{
		f,
		map[span]string{},
		map[span]string{},
		map[*yaml.Node]string{},
		map[*yaml.Node]newDigest{},
		map[use]*yaml.Node{},
	}
	for _, e := range edits {
		if err := r.add(e); err != nil {
			return nil, err
		}
	}
	if len(r.bytes) == 0 {
		return f.data, nil
	}
	if err := r.checkUses(); err != nil {
		return nil, err
	}
	data := r.apply()
	if f.documents != nil && r.contained() {
		return data, nil
	}
	again := &File{Name: f.Name, data: data, lines: newLineIndex(data)}
	if f.documents == nil {
		again.findIgnores()
		if err := again.parseDockerfile(); err != nil {
			return nil, f.byHand(r.firstLine(), "editing this line would break the file")
		}
		return data, r.compareTexts(again, edits)
	}
	if err := again.parse(); err != nil || len(again.documents) != len(f.documents) {
		return nil, f.byHand(r.firstLine(), "editing this line would break the file")
	}
	c := comparison{revision: r, seen: map[*yaml.Node]bool{}}
	for i, root := range f.documents {
		if bad := c.difference(root, again.documents[i]); bad != nil {
			return nil, f.byHand(bad.Line, "editing the file would change the meaning of this line")
		}
	}
	return data, nil
}

// inOrder returns the changed spans in the order of the file.
func (r *revision) inOrder() []span {
	return slices.SortedFunc(maps.Keys(r.bytes), func(a, b span) int {
		return cmp.Compare(a.start, b.start)
	})
}

func (r *revision) apply() []byte {
	var b bytes.Buffer
	end := 0
	for _, at := range r.inOrder() {
		b.Write(r.file.data[end:at.start])
		b.WriteString(r.bytes[at])
		end = at.end
	}
	b.Write(r.file.data[end:])
	return b.Bytes()
}

func (r *revision) firstLine() int {
	line, _ := r.file.lines.position(r.inOrder()[0].start)
	return line
}

// add adds an edit.
func (r *revision) add(e Edit) error {
	p, ok := e.Object.places[e.Reference.Pointer]
	if !ok || p.node != nil && p.part == whole && kindOf(p.node) != '"' {
		return r.file.errorf(e.Object.line, "%s has no text to replace", e.Reference.Name)
	}
	line, _ := r.file.position(p)
	at, text, err := r.file.change(p, e.Text)
	if err != nil {
		return r.file.errorf(line, "editing %s: %v", e.Reference.Text, err)
	}
	if before, ok := r.texts[at]; ok && before != text {
		return r.file.errorf(line, "can't replace %s with both %s and %s: its references share one text "+
			"through an alias", e.Reference.Text, before, text)
	}
	r.texts[at] = text
	r.edited[p.use] = p.node
	switch {
	case p.node == nil:
		r.bytes[at] = text
	case p.part == missingDigest:
		r.bytes[at] = r.file.newPair(p, text)
		r.digests[p.parent] = newDigest{p.node, text}
	case at.start == at.end: // the value of the key is empty
		r.bytes[at] = " " + text
		r.values[p.node] = text
	default:
		r.bytes[at] = r.file.encoded(at, text)
		r.values[p.node] = text
	}
	return nil
}

// change returns what changes for a new reference: the bytes of a scalar, or the empty span after
// which a digest is added, and the new text.
func (f *File) change(p place, reference string) (at span, text string, err error) {
	if p.node == nil {
		return p.span, reference, nil
	}
	if p.part == whole {
		at, err = f.span(p.node)
		return at, p.prefix + reference, err
	}
	_, digest, ok := strings.Cut(reference, "@")
	if !ok {
		return at, "", errors.New("the new text has no digest")
	}
	if p.part == digestPart && p.node.Value == "" && kindOf(p.node) == 'n' {
		at, err = f.afterColon(p.key)
		return at, digest, err
	}
	at, err = f.span(p.node)
	switch p.part {
	case tagPart:
		tag, _, _ := strings.Cut(p.node.Value, "@")
		digest = tag + "@" + digest
	case missingDigest:
		at = f.insertion(p, at)
	}
	return at, digest, err
}

// afterColon returns the empty span after a key and its colon.
func (f *File) afterColon(key *yaml.Node) (span, error) {
	at, err := f.span(key)
	if err != nil {
		return span{}, err
	}
	if at.end >= len(f.data) || f.data[at.end] != ':' {
		return span{}, errors.New("can't find the value of the key digest")
	}
	return span{at.end + 1, at.end + 1}, nil
}

// insertion returns where a pair is added after a value: directly after it or, if the mapping has a
// line for each pair, at the end of the line.
func (f *File) insertion(p place, value span) span {
	at := value.end
	if !f.flow(p.parent) {
		if n := bytes.IndexAny(f.data[at:], "\r\n"); n >= 0 {
			at += n
		} else {
			at = len(f.data)
		}
	}
	return span{at, at}
}

// flow reports whether the pairs of a mapping are separated by commas.
func (f *File) flow(mapping *yaml.Node) bool { return f.json || mapping.Style&yaml.FlowStyle != 0 }

// newPair returns the bytes of a new pair with a digest, in the style of its neighbor.
func (f *File) newPair(p place, digest string) string {
	switch {
	case f.json:
		return `, "digest": "` + digest + `"`
	case f.flow(p.parent):
		return ", digest: " + digest
	}
	end := "\n"
	if bytes.Contains(f.data, []byte("\r\n")) {
		end = "\r\n"
	}
	return end + strings.Repeat(" ", p.key.Column-1) + "digest: " + digest
}

// encoded returns a new text in the same quotes as the old text.
func (f *File) encoded(at span, text string) string {
	switch old := f.data[at.start]; {
	case old == '"' || f.json:
		quoted, _ := jsontext.AppendQuote(nil, text) // it only fails on invalid UTF-8
		return string(quoted)
	case old == '\'':
		return "'" + text + "'"
	}
	return text
}
