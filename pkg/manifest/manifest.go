// SPDX-License-Identifier: Apache-2.0

// Package manifest finds image references in files of manifests, and writes new texts over them.
//
// A file is a stream of YAML documents or JSON values. Objects of the kinds of a workload.Table are scanned, also as
// items of lists (List, PodList, a function's ResourceList); whatever else the file holds is left alone.
//
//	s, err := manifest.Parse("deploy.yaml", data, table)
//	for _, o := range s.Objects { … o.PodSpecs … o.Position(reference) … }
//	data, err = s.Edit(edits)
//
// An edit replaces the bytes of a scalar and no other: nothing is encoded again, so that comments, order, quotes and line
// ends stay as their author wrote them. What was edited is read again, and differs in those scalars alone, or there is an
// error instead of it. A reference behind an alias is edited where its anchor is.
//
// The package decides nothing and asks no registry.
package manifest

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/tagpin/tagpin/pkg/workload"
)

// Error is what is wrong with a file, and where.
type Error struct {
	File    string
	Line    int // from 1
	Message string
}

// Error is file:line: message, as compilers write it.
func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Message) }

// Stream is a file that was read. It is not changed after that.
type Stream struct {
	// Name is the file's, for messages.
	Name string
	// Objects are those of known kinds, in document order; those of a list one by one.
	Objects []*Object

	data      []byte
	table     *workload.Table
	lines     lines
	documents []*value
	expanded  int // bytes that objects and merges have made of data
}

// Object is an object of a known kind, and where it is.
type Object struct {
	*workload.Object
	// Pointer is the object's own JSON pointer in its document: empty, or /items/0 in a list.
	Pointer string

	stream   *Stream
	document int
	root     *value
}

// Edit is a new text for one reference of an object.
type Edit struct {
	Object    *Object
	Reference workload.Reference
	Text      string
}

// Parse reads a file. Its error is an *Error. It costs one tree of the whole file.
func Parse(name string, data []byte, table *workload.Table) (*Stream, error) {
	s := &Stream{Name: name, data: data, table: table, lines: newLines(data)}
	if err := s.read(); err != nil {
		return nil, err
	}
	for i, root := range s.documents {
		c := collector{stream: s, document: i, seen: map[*value]bool{}}
		if err := c.collect(root, "", workload.Kind{}); err != nil {
			return nil, err
		}
	}
	return s, nil
}

var bom = []byte("\uFEFF")

func (s *Stream) read() error {
	for _, utf16 := range []string{"\xFE\xFF", "\xFF\xFE"} {
		if bytes.HasPrefix(s.data, []byte(utf16)) {
			return s.errorf(1, "the file is UTF-16; manifests are UTF-8")
		}
	}
	text := bytes.TrimPrefix(s.data, bom)
	if c := bytes.TrimLeft(text, " \t\r\n"); len(c) > 0 && c[0] == '{' && utf8.Valid(text) {
		err := s.readJSON(len(s.data) - len(text))
		if err == nil || bytes.HasSuffix([]byte(s.Name), []byte(".json")) {
			return err
		}
		s.documents = nil // a YAML flow mapping, perhaps
	}
	return s.readYAML(len(s.data) - len(text))
}

func (s *Stream) errorf(line int, format string, args ...any) *Error {
	return &Error{File: s.Name, Line: line, Message: fmt.Sprintf(format, args...)}
}

// expand counts what the file has become by following its aliases and merges, and fails where that is too much.
func (s *Stream) expand(line, size int) error {
	s.expanded += size
	if s.expanded > maxExpanded+maxGrowth*len(s.data) {
		return s.errorf(line, "the file is too large when its aliases and merge keys are followed")
	}
	return nil
}

// Kubernetes tells whether the stream holds any object of Kubernetes, of a known kind or not.
func (s *Stream) Kubernetes() bool {
	return slices.ContainsFunc(s.documents, func(v *value) bool {
		return v.get("apiVersion").str() != "" && v.get("kind").str() != ""
	})
}

// File is the name of the file that the object is in.
func (o *Object) File() string { return o.stream.Name }

// Position is where the text of a reference begins, in lines and columns (characters) from 1: for one behind an alias,
// where its anchor's value is. For a reference that is missing it is the object's own.
func (o *Object) Position(r workload.Reference) (line, column int) {
	v := o.value(r)
	if v == nil {
		return o.root.line, 1
	}
	at, err := o.stream.span(v)
	if err != nil {
		return v.line, 1
	}
	return o.stream.lines.position(at.start)
}

// value is the scalar that holds a reference; nil where it is missing.
func (o *Object) value(r workload.Reference) *value {
	if r.Missing || r.Pointer == "" {
		return nil
	}
	return o.root.at(r.Pointer)
}
