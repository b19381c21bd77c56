// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"regexp"
	"slices"
	"unicode/utf16"

	"go.yaml.in/yaml/v3"
)

// ErrMayHaveImages is matched by an error of Parse if other programs may find images in the file:
// it is or may be a Kubernetes manifest, a Dockerfile, or another file in which a format is
// recognized. kubectl applies the documents before one that is broken, and a key twice is no error
// for kubectl, Helm and kustomize.
var ErrMayHaveImages = errors.New("the file may have images")

// suspectError is an error that matches ErrMayHaveImages.
type suspectError struct{ error }

func (e suspectError) Is(target error) bool { return target == ErrMayHaveImages }

func (e suspectError) Unwrap() error { return e.error }

// apiVersionKey and kindKey match the keys of a Kubernetes object where they begin a line, or come
// after a brace or a comma.
var (
	apiVersionKey = regexp.MustCompile(`(?m)(?:^|[\r{,])[ \t]*(?:-[ \t]+)*["']?apiVersion["']?[ \t]*:`)
	kindKey       = regexp.MustCompile(`(?m)(?:^|[\r{,])[ \t]*(?:-[ \t]+)*["']?kind["']?[ \t]*:`)
)

// mayHaveImages reports whether a file that can't be parsed and is no Dockerfile may have images:
// it looks like a manifest, or a format recognizes a part of it.
func (f *File) mayHaveImages() bool {
	if len(f.formats) > 0 {
		return true
	}
	text := validText(f.data)
	if apiVersionKey.Match(text) && kindKey.Match(text) {
		return true
	}
	return f.anyReadable(text, func(root *yaml.Node) bool {
		return isObject(root) || len(f.recognize(root)) > 0
	})
}

// separator matches the lines at which kubectl cuts a text into documents.
var separator = regexp.MustCompile(`(?m)^---.*$`)

// anyReadable reports whether one of the documents of a text that can be read is wanted. Like
// kubectl, it reads JSON values as long as it can, and then cuts the rest into YAML documents
// before it parses them. All of them together have the limit of one file.
func (f *File) anyReadable(text []byte, wanted func(root *yaml.Node) bool) bool {
	part := func(text []byte) *File {
		return &File{Name: f.Name, as: f.as, data: text, lines: newLineIndex(text), expanded: f.expanded}
	}
	if isJSON(text) {
		values := part(text)
		read, _ := values.parseJSON(text) // an error is that of the file
		if slices.ContainsFunc(values.documents, wanted) {
			return true
		}
		text = text[read:]
	}
	for _, document := range separator.Split(string(text), -1) {
		p := part([]byte(document))
		_ = p.parseYAML(p.data)
		f.expanded = p.expanded
		if slices.ContainsFunc(p.documents, wanted) {
			return true
		}
	}
	return false
}

// isUTF16 reports whether a file begins with the byte order mark of UTF-16.
func isUTF16(data []byte) bool {
	return bytes.HasPrefix(data, []byte("\xFE\xFF")) || bytes.HasPrefix(data, []byte("\xFF\xFE"))
}

// validText returns the text of a file as kubectl reads it: it knows UTF-16 by its byte order mark,
// and replaces invalid UTF-8.
func validText(data []byte) []byte {
	if !isUTF16(data) {
		return bytes.ToValidUTF8(bytes.TrimPrefix(data, bom), []byte("\uFFFD"))
	}
	var order binary.ByteOrder = binary.LittleEndian
	if data[0] == 0xFE {
		order = binary.BigEndian
	}
	var units []uint16
	for unit := range slices.Chunk(data[2:len(data)-len(data)%2], 2) {
		units = append(units, order.Uint16(unit))
	}
	return []byte(string(utf16.Decode(units)))
}
