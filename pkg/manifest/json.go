// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tagpin/tagpin/pkg/jsonwalk"
)

// parseJSON parses all JSON values from the offset base to the end of the file.
func (s *Stream) parseJSON(base int) error {
	p := jsonParser{stream: s, base: base}
	p.dec = jsontext.NewDecoder(bytes.NewBuffer(s.data[base:]), jsontext.AllowDuplicateNames(true))
	for {
		v, err := p.value()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return p.error(err)
		}
		s.documents = append(s.documents, v)
	}
}

type jsonParser struct {
	stream *Stream
	base   int
	dec    *jsontext.Decoder
}

func (p *jsonParser) error(err error) error {
	at, message := p.offset(), err.Error()
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		at, message = p.base+int(syntax.ByteOffset), syntax.Err.Error()
	}
	return p.stream.errorf(p.stream.lines.line(at), "%s", message)
}

// offset returns the offset of the end of what was read.
func (p *jsonParser) offset() int { return p.base + int(p.dec.InputOffset()) }

// value parses the next value. The error is io.EOF if there is no other value.
func (p *jsonParser) value() (v *value, err error) {
	start := p.offset()
	for start < len(p.stream.data) && strings.IndexByte(" \t\r\n,:", p.stream.data[start]) >= 0 {
		start++
	}
	v = &value{kind: p.dec.PeekKind(), line: p.stream.lines.line(start)}
	switch v.kind {
	case '{':
		err = jsonwalk.Object(p.dec, func(name []byte) error {
			// A string has no line break, so the line of its end is that of its beginning.
			key := &value{kind: '"', text: string(name), line: p.stream.lines.line(p.offset())}
			item, err := p.value()
			v.add(key, item)
			return err
		})
	case '[':
		err = jsonwalk.Array(p.dec, func() error {
			item, err := p.value()
			v.items = append(v.items, item)
			return err
		})
	default:
		var raw jsontext.Value
		raw, err = p.dec.ReadValue()
		v.text, v.span = string(raw), span{start, p.offset()}
		if err == nil && v.kind == '"' {
			var text []byte
			text, err = jsontext.AppendUnquote(nil, raw)
			v.text = string(text)
		}
	}
	return v, err
}
