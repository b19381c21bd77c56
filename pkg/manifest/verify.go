// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"maps"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"
)

// byHand returns an error for an edit that is not made, with what its user can do instead.
func (f *File) byHand(line int, why string) error {
	advice := "write the digest there by hand"
	if !f.json { // JSON has no comments
		advice += `, or add the comment "# tagpin:ignore"`
	}
	return f.errorf(line, "%s; %s", why, advice)
}

// keyAndText matches a line that has nothing but a key, a text as its value, and a comment. The
// text has no character that means something to YAML.
var keyAndText = regexp.MustCompile(`^ *(?:- +)*[\w./-]+: +` +
	`(\w[\w./:@-]*|"\w[\w./:@-]*"|'\w[\w./:@-]*')` + `(?:[ \t]+#[^\n]*|[ \t\r]*)$`)

// endsInDigest matches a text that YAML takes for nothing but a string.
var endsInDigest = regexp.MustCompile(`sha256:[0-9a-f]{64}["']?$`)

// contained reports whether the edits can't change how any other byte of the file is read, so that
// the result need not be parsed. That holds if each of them replaces the whole text of a line with
// a key and a text, and leaves such a line. Up to the text, nothing has changed for the parser;
// neither text has a character that ends it or begins anything else; and what follows is the same
// end of the line (YAML 1.2.2, sections 7.3 and 7.4). Most references are of this kind.
func (r *revision) contained() bool {
	for at, text := range r.bytes {
		begin := bytes.LastIndexByte(r.file.data[:at.start], '\n') + 1
		line, _, _ := bytes.Cut(r.file.data[begin:], []byte("\n"))
		old := span{at.start - begin, at.end - begin}
		if !endsInDigest.MatchString(text) || textOf(line) != old {
			return false
		}
		edited := slices.Concat(line[:old.start], []byte(text), line[old.end:])
		if textOf(edited) != (span{old.start, old.start + len(text)}) {
			return false
		}
	}
	return true
}

// textOf returns the text of a line that keyAndText matches.
func textOf(line []byte) span {
	if m := keyAndText.FindSubmatchIndex(line); m != nil {
		return span{m[2], m[3]}
	}
	return span{-1, -1}
}

// comparison compares the nodes of a file before and after an edit.
type comparison struct {
	revision
	seen map[*yaml.Node]bool // nodes before the edit that were compared already
}

// difference returns the first node before the edit that has an unexpected counterpart after it, or
// nil if there is none. It compares a node once, however many aliases it has.
func (c *comparison) difference(before, after *yaml.Node) *yaml.Node {
	if c.seen[before] {
		return nil
	}
	c.seen[before] = true
	want, kind := before.Value, kindOf(before)
	if text, ok := c.values[before]; ok {
		want, kind = text, '"'
	}
	content := after.Content
	if added, ok := c.digests[before]; ok {
		i := slices.Index(before.Content, added.after) + 1
		if len(content) < i+2 || content[i].Value != "digest" || content[i+1].Value != added.text {
			return before
		}
		content = slices.Concat(content[:i], content[i+2:])
	}
	if kind != kindOf(after) || after.Value != want || len(before.Content) != len(content) {
		return before
	}
	for i, n := range before.Content {
		if bad := c.difference(n, content[i]); bad != nil {
			return bad
		}
	}
	return nil
}

// compareTexts compares the references of a file without a tree before and after the edits.
func (r *revision) compareTexts(again *File, edits []Edit) error {
	want := map[string]string{}
	for _, o := range r.file.Objects {
		for _, reference := range o.PodSpecs[0].References {
			want[reference.Pointer] = reference.Text
		}
	}
	for _, e := range edits {
		want[e.Reference.Pointer] = e.Text
	}
	got := map[string]string{}
	for _, o := range again.Objects {
		for _, reference := range o.PodSpecs[0].References {
			got[reference.Pointer] = reference.Text
		}
	}
	if !maps.Equal(want, got) {
		return r.file.byHand(r.firstLine(), "editing this line would change the meaning of the file")
	}
	return nil
}
