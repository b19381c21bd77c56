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

// Locate reads the next value and returns where it is in the text: Cut takes it from there. It
// needs no more memory for a value that is nested deeply. Decoder.ReadValue would: it calls itself
// for each level, and a value of 10,000 levels makes the goroutine's stack grow to several MiB,
// which are given back only slowly.
func Locate(dec *jsontext.Decoder) (from, to int64, err error) {
	from = dec.InputOffset()
	err = dec.SkipValue()
	return from, dec.InputOffset(), err
}

// IsDeeper reports whether a JSON text has values that are nested deeper than a number of levels.
func IsDeeper(text []byte, levels int) bool {
	if bytes.Count(text, []byte("{"))+bytes.Count(text, []byte("[")) <= levels {
		return false // this is faster, and enough for most texts
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			if depth++; depth > levels {
				return true
			}
		case '}', ']':
			depth--
		case '"':
			i += 1 + stringLength(text[i+1:])
		}
	}
	return false
}

// stringLength returns the length of a string up to its closing quote, or of all of text.
func stringLength(text []byte) int {
	for n := 0; ; n++ {
		more := bytes.IndexByte(text[n:], '"')
		if more < 0 {
			return len(text)
		}
		n += more
		backslashes := 0
		for backslashes < n && text[n-1-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 {
			return n
		}
	}
}

// Cut returns the value that Locate found. It shares the memory of text.
func Cut(text []byte, from, to int64) jsontext.Value {
	return bytes.TrimLeft(text[from:to], ":, \t\r\n")
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
