// SPDX-License-Identifier: Apache-2.0

package jsonwalk

import "io"

// maxDepth is the number of levels of a list of pods that are read. The fields of a pod have fewer.
const maxDepth = 100

// Shallow returns a reader of a JSON text without what is nested deeper than 100 levels: such an
// object or array is empty. It is for lists from the API server. Anyone who may create a pod can
// nest its managedFields as deeply as the API server allows an object to be, which in a list is
// deeper than the decoder allows.
func Shallow(text io.Reader) io.Reader { return &shallow{text: text} }

type shallow struct {
	text io.Reader

	depth           int
	quoted, escaped bool // whether the next byte is in a string, and after a backslash in it
}

// Read implements io.Reader.
func (s *shallow) Read(p []byte) (n int, err error) {
	for n == 0 && err == nil && len(p) > 0 {
		var all int
		all, err = s.text.Read(p)
		for _, b := range p[:all] {
			if s.keeps(b) {
				p[n] = b
				n++
			}
		}
	}
	return n, err
}

// keeps reports whether the next byte is not nested too deeply.
func (s *shallow) keeps(b byte) bool {
	before := s.depth
	switch {
	case s.escaped:
		s.escaped = false
	case s.quoted:
		s.quoted, s.escaped = b != '"', b == '\\'
	case b == '"':
		s.quoted = true
	case b == '{', b == '[':
		s.depth++
	case b == '}', b == ']':
		s.depth--
	}
	return min(before, s.depth) < maxDepth
}
