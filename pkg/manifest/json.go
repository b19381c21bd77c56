// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/jsonwalk"
)

// parseJSON parses all JSON values of text, the file without its byte order mark. It returns the
// size of those before an error. Like kubectl, it replaces invalid UTF-8 in a string.
func (f *File) parseJSON(text []byte) (read int, err error) {
	p := jsonParser{file: f, base: len(f.data) - len(text)}
	p.dec = jsonwalk.NewDecoder(bytes.NewBuffer(text))
	for {
		n, err := p.value()
		if errors.Is(err, io.EOF) {
			return read, nil
		}
		if err != nil {
			return read, p.error(err)
		}
		f.documents = append(f.documents, n)
		read = int(p.dec.InputOffset())
	}
}

type jsonParser struct {
	file *File
	base int // the offset of the text in the file
	dec  *jsontext.Decoder
}

func (p *jsonParser) error(err error) error {
	at, message := p.offset(), err.Error()
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		at, message = p.base+int(syntax.ByteOffset), syntax.Err.Error()
	}
	line, _ := p.file.lines.position(at)
	return p.file.errorf(line, "%s", message)
}

// offset returns the offset of the end of what was read.
func (p *jsonParser) offset() int { return p.base + int(p.dec.InputOffset()) }

// tags are the YAML tags of JSON's scalars.
var tags = map[jsontext.Kind]string{
	'"': "!!str", '0': "!!float", 't': "!!bool", 'f': "!!bool", 'n': "!!null",
}

// value parses the next value. The error is io.EOF if there is no other value.
func (p *jsonParser) value() (*yaml.Node, error) {
	text := bytes.TrimLeft(p.file.data[p.offset():], " \t\r\n,:")
	kind := p.dec.PeekKind()
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: tags[kind]}
	n.Line, n.Column = p.file.lines.position(len(p.file.data) - len(text))
	child := func() error {
		c, err := p.value()
		n.Content = append(n.Content, c)
		return err
	}
	switch kind {
	case '{':
		n.Kind = yaml.MappingNode
		return n, jsonwalk.Object(p.dec, func(name []byte) error {
			// A string has no line break, so the line of its end is that of its beginning.
			line, _ := p.file.lines.position(p.offset())
			key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: string(name), Line: line}
			n.Content = append(n.Content, key)
			return child()
		})
	case '[':
		n.Kind = yaml.SequenceNode
		return n, jsonwalk.Array(p.dec, child)
	}
	raw, err := p.dec.ReadValue()
	if err == nil && kind == '"' {
		n.Style = yaml.DoubleQuotedStyle
		raw, _ = jsontext.AppendUnquote(nil, raw) // its only error is invalid UTF-8, which is replaced
	}
	n.Value = string(raw)
	return n, err
}
