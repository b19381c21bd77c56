// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
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

func (p *jsonParser) error(err error) *Error {
	at, message := p.base+int(p.dec.InputOffset()), err.Error()
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		at, message = p.base+int(syntax.ByteOffset), syntax.Err.Error()
	}
	return p.stream.errorf(p.stream.lines.line(at), "%s", message)
}

// value parses the next value. The error is io.EOF if there is no other value.
func (p *jsonParser) value() (*value, error) {
	kind := p.dec.PeekKind()
	if kind != '{' && kind != '[' {
		return p.scalar()
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return nil, err
	}
	v := &value{kind: kind, line: p.stream.lines.line(p.base + int(p.dec.InputOffset()) - 1)}
	for {
		if k := p.dec.PeekKind(); k == '}' || k == ']' {
			_, err := p.dec.ReadToken()
			return v, err
		}
		if err := p.member(v); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

func (p *jsonParser) member(v *value) error {
	first, err := p.value()
	if err != nil {
		return err
	}
	if v.kind == '[' {
		v.items = append(v.items, first)
		return nil
	}
	item, err := p.value()
	if err != nil {
		return err
	}
	v.add(first, item)
	return nil
}

func (p *jsonParser) scalar() (*value, error) {
	raw, err := p.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	end := p.base + int(p.dec.InputOffset())
	at := span{end - len(raw), end}
	v := &value{kind: raw.Kind(), text: string(raw), line: p.stream.lines.line(at.start), span: at}
	if v.kind == '"' {
		text, err := jsontext.AppendUnquote(nil, raw)
		if err != nil {
			return nil, err
		}
		v.text = string(text)
	}
	return v, nil
}
