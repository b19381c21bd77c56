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

// ErrManifest is matched by an error of Parse if the file is or may be a Kubernetes manifest, or
// another file in which a format is recognized. Other programs may use such a file, or a part of
// it, although Parse returns no references: kubectl applies the documents before one that is
// broken, and a key twice is no error for kubectl, Helm and kustomize.
var ErrManifest = errors.New("the file may be a manifest")

// manifestError is an error that matches ErrManifest.
type manifestError struct{ error }

func (e manifestError) Is(target error) bool { return target == ErrManifest }

func (e manifestError) Unwrap() error { return e.error }

// apiVersionKey and kindKey match the keys of a Kubernetes object where they begin a line, or come
// after a brace or a comma.
var (
	apiVersionKey = regexp.MustCompile(`(?m)(?:^|[\r{,])[ \t]*(?:-[ \t]+)*["']?apiVersion["']?[ \t]*:`)
	kindKey       = regexp.MustCompile(`(?m)(?:^|[\r{,])[ \t]*(?:-[ \t]+)*["']?kind["']?[ \t]*:`)
)

// mayBeManifest reports whether a file that can't be parsed is or may be a manifest: it looks like
// one, or has a part that is one.
func (f *File) mayBeManifest() bool {
	if len(f.formats) > 0 {
		return true
	}
	text := validText(f.data)
	if apiVersionKey.Match(text) && kindKey.Match(text) {
		return true
	}
	return slices.ContainsFunc(f.readable(text), func(root *yaml.Node) bool {
		return isObject(root) || f.recognize(root) != nil
	})
}

// separator matches the lines at which kubectl cuts a text into documents.
var separator = regexp.MustCompile(`(?m)^---.*$`)

// readable returns those documents of a text that can be read. Like kubectl, it reads JSON values
// as long as it can, and then cuts the rest into YAML documents before it parses them.
func (f *File) readable(text []byte) (roots []*yaml.Node) {
	if isJSON(text) {
		part := &File{Name: f.Name, data: text, lines: newLineIndex(text)}
		read, _ := part.parseJSON(text)
		roots, text = part.documents, text[read:]
	}
	for _, document := range separator.Split(string(text), -1) {
		part := &File{Name: f.Name, data: []byte(document), lines: newLineIndex([]byte(document))}
		_ = part.parseYAML(part.data) // an error is that of the file
		roots = append(roots, part.documents...)
	}
	return roots
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
