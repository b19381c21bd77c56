// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// readJSON reads the values that start at base, one after another.
func (s *Stream) readJSON(base int) error {
	r := jsonReader{stream: s, base: base}
	r.dec = jsontext.NewDecoder(bytes.NewBuffer(s.data[base:]), jsontext.AllowDuplicateNames(true))
	for {
		v, err := r.value()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return r.error(err)
		}
		s.documents = append(s.documents, v)
	}
}

type jsonReader struct {
	stream *Stream
	base   int
	dec    *jsontext.Decoder
}

func (r *jsonReader) error(err error) *Error {
	at, message := r.base+int(r.dec.InputOffset()), err.Error()
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		at, message = r.base+int(syntax.ByteOffset), syntax.Err.Error()
	}
	return r.stream.errorf(r.stream.lines.line(at), "%s", message)
}

// value reads the next value. Its error is io.EOF only where there is none.
func (r *jsonReader) value() (*value, error) {
	kind := r.dec.PeekKind()
	if kind != '{' && kind != '[' {
		return r.scalar()
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, err
	}
	v := &value{kind: kind, line: r.stream.lines.line(r.base + int(r.dec.InputOffset()) - 1)}
	for {
		if k := r.dec.PeekKind(); k == '}' || k == ']' {
			_, err := r.dec.ReadToken()
			return v, err
		}
		if err := r.member(v); err != nil {
			return nil, cut(err)
		}
	}
}

// cut says of a value that ends before its text does that this is no good end.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (r *jsonReader) member(v *value) error {
	first, err := r.value()
	if err != nil {
		return err
	}
	if v.kind == '[' {
		v.items = append(v.items, first)
		return nil
	}
	item, err := r.value()
	if err != nil {
		return err
	}
	v.add(first, item)
	return nil
}

func (r *jsonReader) scalar() (*value, error) {
	raw, err := r.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	end := r.base + int(r.dec.InputOffset())
	at := span{end - len(raw), end}
	v := &value{kind: raw.Kind(), text: string(raw), line: r.stream.lines.line(at.start), span: at}
	if v.kind == '"' {
		text, err := jsontext.AppendUnquote(nil, raw)
		if err != nil {
			return nil, err
		}
		v.text = string(text)
	}
	return v, nil
}
