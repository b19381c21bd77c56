// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tagpin/tagpin/pkg/jsonwalk"
	"github.com/tagpin/tagpin/pkg/ref"
)

// MaxReferences is the maximum number of references and pod specs in an object. An API server does
// not send more, because it evaluates the match conditions of the webhook's registration first, and
// they fail for objects that have many more than 5,000 containers. The limit protects the memory of
// the webhook from other callers: a reference takes many times the memory of its text.
const MaxReferences = 10_000

// Limits on the parts of an object that Scan keeps. They stay in memory while the images are
// resolved, long after the JSON of the object was dropped. An API server calls mutating webhooks
// before it validates an object, so any text can be as long as a whole object.
const (
	// MaxAnnotations is the maximum size of all annotations in one ObjectMeta, in bytes
	// (k8s.io/apimachinery/pkg/api/validation).
	MaxAnnotations = 256 << 10
	// MaxPullSecrets is the maximum number of pull secrets that are used for a pod. Scan keeps one
	// more, so that callers can tell that there are too many.
	MaxPullSecrets = 64
	// MaxName is the maximum length of a name of an object (RFC 1123, subdomain), and of a namespace
	// and a UID, which are shorter. They may be longer in a review, because an API server validates an
	// object after it. Of all texts that Scan keeps, only images, annotations and apiVersions can be
	// longer.
	MaxName = 253
	// maxVersion is the maximum length of an apiVersion: a group, a slash and a version.
	maxVersion = MaxName + 1 + 63
	// maxHead is the maximum number of bytes that shorten keeps of a text.
	maxHead = ref.MaxLength
)

// ErrTooManyReferences is returned by Scan if an object has more than MaxReferences references or
// pod specs.
var ErrTooManyReferences = fmt.Errorf("more than %d images and pod specs", MaxReferences)

// Scan finds the references of an object, given as JSON, in one pass over raw. A value whose type
// is not the expected one is ignored. It is an error if raw is not a JSON object. The result does
// not share memory with raw.
//
// Scan keeps only the labels and annotations that tagpin or t uses, because an object can have a
// megabyte of others. A text that is longer than Kubernetes allows is replaced by its beginning and
// a hash. Two such texts differ if the originals differ, and such an image is still too long to be
// valid.
func (t *Table) Scan(kind Kind, raw []byte) (*Object, error) {
	tree := t.tree(kind)
	if tree == nil {
		return nil, fmt.Errorf("%s: no pod template is known in this kind; "+
			"add it to `templates` in the config", kind)
	}
	s := scanners.Get().(*scanner)
	s.reset(raw)
	defer func() {
		s.reset(nil) // forget raw
		scanners.Put(s)
	}()
	s.labels, s.annotations = revisionLabels[:], knownAnnotations
	if t != nil {
		s.labels = append(slices.Clip(revisionLabels[:]), t.Labels...)
		s.annotations = append(slices.Clip(knownAnnotations), t.RefreshAnnotations...)
	}
	o := &Object{Kind: kind, Metadata: Metadata{Pointer: "/metadata"}}
	if t != nil {
		o.RefreshAnnotations = t.RefreshAnnotations
	}
	o.Custom, o.Several = builtin[kind] == nil, tree.several
	s.into = o
	if err := s.root(tree); err != nil {
		return nil, fmt.Errorf("scanning %s: %w", kind, err)
	}
	return o, nil
}

var scanners = sync.Pool{New: func() any { return &scanner{dec: new(jsontext.Decoder)} }}

// scanner walks through one JSON document.
type scanner struct {
	dec  *jsontext.Decoder
	buf  bytes.Buffer
	raw  []byte  // the whole document
	into *Object // the result
	// labels and annotations are the names of those to keep.
	labels, annotations []string

	images PodSpec // the images outside of pod templates
	found  int     // number of references and pod specs so far
	room   int     // number of bytes that are left for the annotations of pod templates
	// sum is the hash of what is being scanned, or nil if that is not hashed: template within a pod
	// template, and rest in the rest of an object with images there. The text is in it up to the
	// offset hashed.
	sum            *maphash.Hash
	template, rest maphash.Hash
	hashed         int64
}

func (s *scanner) reset(raw []byte) {
	*s = scanner{dec: s.dec, buf: *bytes.NewBuffer(raw), raw: raw, room: MaxAnnotations}
	s.template.SetSeed(seed)
	s.rest.SetSeed(seed)
	jsonwalk.Reset(s.dec, &s.buf)
}

// seed is the seed of all hashes, which makes them comparable.
var seed = maphash.MakeSeed()

// hash adds the text since hashed to the hash. The text is one field, or a part of one: what
// separates it from the text before is not hashed.
func (s *scanner) hash() {
	if s.sum == nil {
		return
	}
	text := s.raw[s.hashed:s.dec.InputOffset()]
	_, _ = s.sum.Write(bytes.TrimLeft(text, ":{, \t\r\n"))
	s.leaveOut()
}

// leaveOut leaves the text since hashed out of the hash.
func (s *scanner) leaveOut() { s.hashed = s.dec.InputOffset() }

// isObject reports whether the next value is an object.
func (s *scanner) isObject() bool { return s.dec.PeekKind() == '{' }

// name reads a name, or another text with the same maximum length.
func (s *scanner) name(into *string) error { return s.text(into, MaxName) }

// annotation reads the value of an annotation. room is the number of bytes that are left for this
// and all following annotations. Once they are used up, each annotation still keeps its first
// maxHead bytes.
func (s *scanner) annotation(into *string, room *int) error {
	err := s.text(into, max(*room, maxHead))
	*room -= len(*into)
	return err
}

// text reads the next value if it is a string, and shortens it if it is longer than limit bytes. If
// the next value is not a string, it is skipped and into is not changed.
func (s *scanner) text(into *string, limit int) error {
	if s.dec.PeekKind() != '"' {
		return s.dec.SkipValue()
	}
	raw, err := s.dec.ReadValue()
	if err != nil {
		return err
	}
	const longest = len(`\u0000`) // the longest escape sequence of one byte
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

// shorten returns the beginning of a text, which messages quote, followed by a hash of the whole
// text. The result is longer than the smaller of limit and maxHead.
func shorten(text []byte, limit int) string {
	sum := sha256.Sum256(text)
	return string(text[:min(limit, maxHead)]) + "…" + hex.EncodeToString(sum[:])
}

// length skips the next value and returns its length in bytes if it is a string, and otherwise 0.
// The result is a little too large if the string contains a \u escape.
func (s *scanner) length() (int, error) {
	if s.dec.PeekKind() != '"' {
		return 0, s.dec.SkipValue()
	}
	raw, err := s.dec.ReadValue()
	// A backslash is the first byte of an escape sequence, or the second one after another.
	escapes := bytes.Count(raw, []byte(`\`)) - bytes.Count(raw, []byte(`\\`))
	return len(raw) - len(`""`) - escapes, err
}
