// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tagpin/tagpin/pkg/ref"
)

// ErrUnknownKind says that the table has no place for references in objects of this kind.
var ErrUnknownKind = errors.New("kind is in no table of pod templates")

// MaxReferences is the number of references, and of pod specs, in an object that is scanned. The conditions of the webhook's
// registration are evaluated for 5,000 containers, and not for many more: what is over this can't come
// from an API server, and each reference costs many times the memory of its text.
const MaxReferences = 10_000

// Bounds of what is kept of an object: it stays in memory while registries are asked, when the
// object itself has been dropped. Mutating webhooks are called before the API server validates, so
// that any text may be as long as an object can be.
const (
	// MaxAnnotations is how many bytes the annotations of one metadata may have
	// (k8s.io/apimachinery/pkg/api/validation).
	MaxAnnotations = 256 << 10
	// MaxPullSecrets is the number of pull secrets that are used of a pod spec. One more is kept,
	// to show that there are more.
	MaxPullSecrets = 64
	// maxName is the greatest length of a name (RFC 1123, subdomain). All other texts that are kept
	// are shorter still, but for images, annotations and apiVersions.
	maxName = 253
	// maxVersion is the greatest length of an apiVersion: a group, a slash and a version.
	maxVersion = maxName + 1 + 63
	// maxHead is how much is kept of the beginning of a text that is too long.
	maxHead = ref.MaxLength
)

// ErrTooManyReferences reports an object with more than MaxReferences references.
var ErrTooManyReferences = fmt.Errorf("more than %d images", MaxReferences)

// Scan finds the references of an object, given as JSON, in one pass over raw. Values of another type than expected hold
// no reference and are passed over; text that is no JSON is an error. It keeps nothing of raw.
//
// Of labels and annotations only those are kept that tagpin or t knows: an object may carry a
// megabyte of others. A text that is longer than Kubernetes allows is replaced by its beginning and
// a hash: such texts differ if the originals do, and are still too long for an image.
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
	room   int // bytes that are left for the annotations of pod templates
}

func (s *scanner) reset(raw []byte) {
	s.at, s.found = s.at[:0], 0
	s.room = MaxAnnotations
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

// name reads a name, or another text that is no longer than names may be.
func (s *scanner) name(into *string) error { return s.text(into, maxName) }

// annotation reads the value of an annotation. room is what is left for it and for those after it.
func (s *scanner) annotation(into *string, room *int) error {
	err := s.text(into, max(*room, maxHead))
	*room -= len(*into)
	return err
}

// text reads the string that is next; a value of another kind is skipped and reads as empty. A text
// of more than limit bytes is shortened.
func (s *scanner) text(into *string, limit int) error {
	if s.dec.PeekKind() != '"' {
		return s.dec.SkipValue()
	}
	raw, err := s.dec.ReadValue()
	if err != nil {
		return err
	}
	const longest = len(`\u0000`) // way to write one byte
	text := raw[1 : len(raw)-1]
	if bytes.IndexByte(text, '\\') >= 0 && len(text) <= longest*limit {
		if text, err = jsontext.AppendUnquote(nil, raw); err != nil {
			return err
		}
	}
	if len(text) > limit {
		*into = shorten(text, limit)
		return nil
	}
	*into = string(text)
	return nil
}

// shorten keeps the beginning of a text, for messages, and a hash of all of it. The result is
// longer than limit, or than maxHead if limit is more.
func shorten(text []byte, limit int) string {
	sum := sha256.Sum256(text)
	return string(text[:min(limit, maxHead)]) + "…" + hex.EncodeToString(sum[:])
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
