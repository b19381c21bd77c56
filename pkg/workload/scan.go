// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// ErrUnknownKind says that the table has no place for references in objects of this kind.
var ErrUnknownKind = errors.New("kind is in no table of pod templates")

// MaxReferences is the number of references, and of pod specs, in an object that is scanned. The conditions of the webhook's
// registration are evaluated for 5,000 containers, and not for many more: what is over this can't come
// from an API server, and each reference costs many times the memory of its text.
const MaxReferences = 10_000

// ErrTooManyReferences reports an object with more than MaxReferences references.
var ErrTooManyReferences = fmt.Errorf("more than %d images", MaxReferences)

// Scan finds the references of an object, given as JSON, in one pass over raw. Values of another type than expected hold
// no reference and are passed over; text that is no JSON is an error. It keeps nothing of raw.
//
// Of labels and annotations only those are kept that tagpin or t knows: an object may carry a
// megabyte of others.
func (t *Table) Scan(kind Kind, raw []byte) (*Object, error) {
	tree := t.tree(kind)
	if tree == nil {
		return nil, fmt.Errorf("%s: %w", kind, ErrUnknownKind)
	}
	s := scanners.Get().(*scanner)
	defer s.release()
	s.reset(raw)
	if t != nil {
		s.labels = t.Labels
	}
	o := &Object{Kind: kind, Metadata: Metadata{Pointer: "/metadata"}}
	if err := s.root(o, tree); err != nil {
		return nil, fmt.Errorf("scanning %s: %w", kind, err)
	}
	if t.Custom(kind) {
		for i := range o.PodSpecs {
			o.PodSpecs[i].Annotated, o.PodSpecs[i].Shared = false, tree.several
		}
	}
	return o, nil
}

var scanners = sync.Pool{New: func() any { return new(scanner) }}

// scanner walks one document. at is the JSON pointer of the value that is next, and labels are
// those that are kept beside the built-in ones.
type scanner struct {
	dec    jsontext.Decoder
	buf    bytes.Buffer
	at     []byte
	labels []string
	found  int // references and pod specs
}

func (s *scanner) reset(raw []byte) {
	s.at, s.found = s.at[:0], 0
	s.buf = *bytes.NewBuffer(raw) // the decoder reads it in place
	// The API server has decoded the object already: its text has no duplicate names, and checking each costs a map.
	s.dec.Reset(&s.buf, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

func (s *scanner) release() {
	s.buf, s.labels = bytes.Buffer{}, nil
	s.dec.Reset(&s.buf)
	scanners.Put(s)
}

// object calls field for each name of the object that is next; field has to consume the value. A value of another kind
// is skipped and present is false.
func (s *scanner) object(field func(name []byte) error) (present bool, err error) {
	if s.dec.PeekKind() != '{' {
		return false, s.dec.SkipValue()
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return false, err
	}
	for s.dec.PeekKind() == '"' {
		raw, err := s.dec.ReadValue()
		if err != nil {
			return true, err
		}
		n := len(s.at)
		name := s.push(raw)
		if err := field(name); err != nil {
			return true, err
		}
		s.at = s.at[:n]
	}
	_, err = s.dec.ReadToken()
	return true, err
}

// push appends a quoted name to the pointer and returns it unquoted. The result is good until the next read.
func (s *scanner) push(quoted []byte) []byte {
	name := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		name, _ = jsontext.AppendUnquote(nil, quoted)
	}
	s.at = appendStep(s.at, name)
	return name
}

// appendStep appends a name to a JSON pointer (RFC 6901, section 3).
func appendStep(to, name []byte) []byte {
	to = append(to, '/')
	for _, c := range name {
		switch c {
		case '~':
			to = append(to, "~0"...)
		case '/':
			to = append(to, "~1"...)
		default:
			to = append(to, c)
		}
	}
	return to
}

// array calls element for each element of the array that is next; element has to consume it.
func (s *scanner) array(element func() error) error {
	if s.dec.PeekKind() != '[' {
		return s.dec.SkipValue()
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return err
	}
	n := len(s.at)
	for i := 0; s.dec.PeekKind() != ']'; i++ {
		s.at = strconv.AppendInt(append(s.at[:n], '/'), int64(i), 10)
		if err := element(); err != nil {
			return err
		}
	}
	s.at = s.at[:n]
	_, err := s.dec.ReadToken()
	return err
}

// text reads the string that is next; a value of another kind is skipped and reads as empty.
func (s *scanner) text(into *string) error {
	if s.dec.PeekKind() != '"' {
		return s.dec.SkipValue()
	}
	raw, err := s.dec.ReadValue()
	if err != nil {
		return err
	}
	if body := raw[1 : len(raw)-1]; bytes.IndexByte(body, '\\') < 0 {
		*into = string(body)
		return nil
	}
	unquoted, err := jsontext.AppendUnquote(nil, raw)
	*into = string(unquoted)
	return err
}

// length passes over the string that is next and returns the bytes of its text, or a little more where there is a \u; 0 for a
// value of another kind.
func (s *scanner) length() (int, error) {
	if s.dec.PeekKind() != '"' {
		return 0, s.dec.SkipValue()
	}
	raw, err := s.dec.ReadValue()
	if err != nil {
		return 0, err
	}
	raw = raw[1 : len(raw)-1]
	n := len(raw)
	for i := bytes.IndexByte(raw, '\\'); i >= 0; i = bytes.IndexByte(raw, '\\') {
		n--
		raw = raw[i+2:]
	}
	return n, nil
}

// pointer is the JSON pointer of the value that is next, with suffix.
func (s *scanner) pointer(suffix string) string {
	var b strings.Builder
	b.Grow(len(s.at) + len(suffix))
	b.Write(s.at)
	b.WriteString(suffix)
	return b.String()
}
