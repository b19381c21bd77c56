// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"regexp"
	"slices"

	"github.com/tagpin/tagpin/pkg/workload"
)

// Object is a part of a file that has references: a Kubernetes object of a known kind, or a whole
// document of another format. The references of the latter are image fields, as those of a custom
// kind are.
type Object struct {
	*workload.Object

	file   *File
	line   int              // where the object begins
	places map[string]place // of its references, by their pointers
}

// place is where a reference is in a file. Its text may be in several scalars.
type place struct {
	scalar // to edit; its node is nil in a Dockerfile
	part   part
	prefix string   // of a whole reference: what the scalar has before it
	others []scalar // those that have other parts
	// In a Dockerfile, span is the bytes of the reference, and line is where the instruction begins.
	span span
	line int
}

// part is what the edited scalar of a reference has.
type part int

const (
	whole         part = iota // the reference, after a prefix
	tagPart                   // the tag and, in the same scalar, the digest: 1.25@sha256:…
	digestPart                // the digest; it may be empty
	missingDigest             // the tag; the digest is in a scalar of its own, which is still missing
)

// Position returns the line and the column where the text of a reference begins or, if its parts
// are in several scalars, the part that would be edited. Both start at 1, and a column is a
// character. If the reference is an alias, the position is that of its anchor's value. If the
// reference is missing, it is the position of the object.
func (o *Object) Position(r workload.Reference) (line, column int) {
	p, ok := o.places[r.Pointer]
	if !ok {
		return o.line, 1
	}
	return o.file.position(p)
}

func (f *File) position(p place) (line, column int) {
	if p.node == nil {
		return f.lines.position(p.span.start)
	}
	at, err := f.span(p.node)
	if err != nil {
		return p.node.Line, max(p.node.Column, 1)
	}
	return f.lines.position(at.start)
}

// add adds an object with places to the file, without the references that are to be ignored.
func (f *File) add(o *Object) {
	for i := range o.PodSpecs {
		spec := &o.PodSpecs[i]
		before := len(spec.References)
		spec.References = slices.DeleteFunc(spec.References, func(r workload.Reference) bool {
			p, ok := o.places[r.Pointer]
			return ok && f.ignored(p)
		})
		f.Ignored += before - len(spec.References)
	}
	f.Objects = append(f.Objects, o)
}

// ignoreComment matches the comment that makes tagpin ignore the references of its line. On a line
// of its own, it is for the next line.
var ignoreComment = regexp.MustCompile(
	`(?m)^([^\r\n]*[ \t])?#[ \t]*tagpin:ignore(?:[^\w-]|$)`)

var onlySpace = regexp.MustCompile(`^\s*$`)

// findIgnores sets the lines whose references are ignored.
func (f *File) findIgnores() {
	if !bytes.Contains(f.data, []byte("tagpin:ignore")) {
		return
	}
	f.ignores = map[int]bool{}
	for _, m := range ignoreComment.FindAllSubmatchIndex(f.data, -1) {
		line, _ := f.lines.position(m[0])
		if m[2] < 0 || onlySpace.Match(f.data[m[2]:m[3]]) {
			line++
		}
		f.ignores[line] = true
	}
}

// ignored reports whether the comment is on a line that has a part of a reference.
func (f *File) ignored(p place) bool {
	if len(f.ignores) == 0 {
		return false
	}
	if p.node == nil { // in a Dockerfile
		line, _ := f.position(p)
		return f.ignores[line] || f.ignores[p.line]
	}
	return f.ignoredIn(p.scalar) || slices.ContainsFunc(p.others, f.ignoredIn)
}

// ignoredIn reports whether the comment is on the line of a scalar or of its key. For an alias,
// that is the line of the alias, because a comment at the anchor is for the anchor alone. The text
// of a block is on a line after that of its node.
func (f *File) ignoredIn(s scalar) bool {
	if s.key != nil && f.ignores[s.key.Line] {
		return true
	}
	if line, ok := f.aliasLines[s.use]; ok {
		return f.ignores[line]
	}
	line, _ := f.position(place{scalar: s})
	return f.ignores[line] || f.ignores[s.node.Line]
}
