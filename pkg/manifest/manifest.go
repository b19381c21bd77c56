// SPDX-License-Identifier: Apache-2.0

// Package manifest finds the image references in manifest files and replaces their text.
//
// A file is a stream of YAML documents or JSON values. Parse scans every object whose kind is in
// the given workload.Table, including the items of lists (List, PodList, or the ResourceList of a
// KRM function). Everything else in the file is ignored.
//
//	s, err := manifest.Parse("deploy.yaml", data, table)
//	for _, o := range s.Objects { … o.PodSpecs … o.Position(reference) … }
//	data, err = s.Edit(edits)
//
// An edit replaces only the bytes of one scalar. The file is not encoded again, so comments, order,
// quotes and line ends stay as the author wrote them. Edit then parses its own result, and returns
// an error if anything but the edited scalars differs. A reference that is an alias is edited where
// its anchor is.
//
// The package does not decide which references to pin and does not contact registries.
package manifest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/workload"
)

// Stream is a parsed file. It is immutable.
type Stream struct {
	// Name is the name of the file. It is used in error messages.
	Name string
	// Objects are the objects of known kinds, in document order. Items of lists are included.
	Objects []*Object

	data      []byte
	table     *workload.Table
	lines     lineIndex
	documents []*yaml.Node
	expanded  int // size of all objects and merged mappings, with aliases followed
}

// Object is an object of a known kind and its position in the file.
type Object struct {
	*workload.Object

	stream *Stream
	root   *yaml.Node
}

// Edit replaces the text of one reference of an object.
type Edit struct {
	Object    *Object
	Reference workload.Reference
	Text      string
}

// Parse parses a file whose content is data. It builds a tree of the whole file in memory. An error
// begins with the name of the file and the line, as those of compilers do.
func Parse(name string, data []byte, table *workload.Table) (*Stream, error) {
	s := &Stream{Name: name, data: data, table: table, lines: newLineIndex(data)}
	if err := s.parse(); err != nil {
		return nil, err
	}
	for _, root := range s.documents {
		if err := s.collect(root, workload.Kind{}, map[*yaml.Node]bool{}); err != nil {
			return nil, err
		}
	}
	return s, nil
}

var bom = []byte("\uFEFF")

// parse sets documents. A file that begins with a brace is parsed as JSON first.
func (s *Stream) parse() error {
	for _, utf16 := range []string{"\xFE\xFF", "\xFF\xFE"} {
		if bytes.HasPrefix(s.data, []byte(utf16)) {
			return s.errorf(1, "the file is UTF-16; manifests are UTF-8")
		}
	}
	text := bytes.TrimPrefix(s.data, bom)
	content := bytes.TrimLeft(text, " \t\r\n")
	if bytes.HasPrefix(content, []byte("{")) && utf8.Valid(text) {
		err := s.parseJSON(text)
		if err == nil || strings.HasSuffix(s.Name, ".json") {
			return err
		}
		s.documents = nil // it may be a YAML flow mapping
	}
	return s.parseYAML(text)
}

func (s *Stream) errorf(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", s.Name, line, fmt.Errorf(format, args...))
}

// addExpanded adds size bytes to the size of the file with its aliases and merge keys followed. It
// returns an error if the sum is too large.
func (s *Stream) addExpanded(line, size int) error {
	s.expanded += size
	if s.expanded > maxExpanded+maxGrowth*len(s.data) {
		return s.errorf(line, "the file is too large when its aliases and merge keys are followed")
	}
	return nil
}

// Kubernetes reports whether the file contains a Kubernetes object, whether or not its kind is
// known.
func (s *Stream) Kubernetes() bool {
	return slices.ContainsFunc(s.documents, func(n *yaml.Node) bool {
		return text(get(n, "apiVersion")) != "" && text(get(n, "kind")) != ""
	})
}

// Position returns the line and the column where the text of a reference begins. Both start at 1,
// and a column is a character. If the reference is an alias, the position is that of its anchor's
// value. If the reference is missing, it is the position of the object.
func (o *Object) Position(r workload.Reference) (line, column int) {
	n := o.node(r)
	if n == nil {
		return o.root.Line, 1
	}
	at, err := o.stream.span(n)
	if err != nil {
		return n.Line, 1
	}
	return o.stream.lines.position(at.start)
}

// node returns the scalar that contains a reference, or nil if the reference is missing.
func (o *Object) node(r workload.Reference) *yaml.Node {
	if r.Pointer == "" {
		return nil
	}
	return at(o.root, r.Pointer)
}
