// SPDX-License-Identifier: Apache-2.0

// Package jsonwalk reads the parts of a JSON text that the caller wants, and skips the others.
//
//	dec := jsonwalk.NewDecoder(bytes.NewBuffer(data))
//	err := jsonwalk.Object(dec, func(name []byte) error {
//		switch string(name) {
//		case "items":
//			return jsonwalk.Array(dec, func() error { … })
//		}
//		return dec.SkipValue()
//	})
//
// A value of another type than the expected one is skipped. Callers that must know the type first
// use the decoder's PeekKind.
package jsonwalk

import (
	"bytes"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// NewDecoder returns a decoder that accepts duplicate names and invalid UTF-8. An API server does
// not send these, and the check for duplicate names costs a map for each object. The decoder does
// not copy the text of a bytes.Buffer.
func NewDecoder(r io.Reader) *jsontext.Decoder {
	dec := new(jsontext.Decoder)
	Reset(dec, r)
	return dec
}

// Reset makes dec equal to a new decoder that reads from r.
func Reset(dec *jsontext.Decoder, r io.Reader) {
	dec.Reset(r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// Object calls field for each name of the next value, if that is an object. field must consume the
// value of the name, and may only use name before that.
func Object(dec *jsontext.Decoder, field func(name []byte) error) error {
	if dec.PeekKind() != '{' {
		return dec.SkipValue()
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() == '"' {
		raw, err := dec.ReadValue()
		if err != nil {
			return err
		}
		name := raw[1 : len(raw)-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			name, _ = jsontext.AppendUnquote(nil, raw)
		}
		if err := field(name); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// Array calls element for each element of the next value, if that is an array. element must consume
// the element.
func Array(dec *jsontext.Decoder, element func() error) error {
	if dec.PeekKind() != '[' {
		return dec.SkipValue()
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		if err := element(); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}
