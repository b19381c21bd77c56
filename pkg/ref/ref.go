// SPDX-License-Identifier: Apache-2.0

// Package ref is an image reference as a value.
//
// The grammar is the kubelet's, which is that of github.com/distribution/reference:
//
//	[host[:port]/]path[:tag][@algorithm:hex]
//
// What that package refuses, the kubelet refuses too (InvalidImageName). Beyond the grammar a
// reference has a greatest length (MaxLength), since its author may be anybody. A Reference keeps
// the author's spelling: it is normalised to find the registry, never to be written back. The
// package resolves nothing and knows no registry but Docker Hub, whose short names the grammar
// itself expands.
package ref

import (
	"cmp"
	_ "crypto/sha256" // go-digest takes an algorithm only where it is linked; the kubelet has all three
	_ "crypto/sha512"
	"errors"
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// DefaultTag is what a reference with neither tag nor digest means.
const DefaultTag = "latest"

// Bounds of the length of a reference, in bytes.
const (
	// MaxLength is longer than any reference: the grammar bounds a path at 255, a tag at 128 and
	// the longest digest at 135, and maxHost bounds the host.
	MaxLength = 1024
	// maxHost is the longest DNS name with a colon and a port. The grammar has no bound for it.
	maxHost = 253 + len(":65535")
	// maxQuoted is how much of a text an error quotes.
	maxQuoted = 128
)

// ErrBlank says that the text holds no reference at all: an image field may be empty, to be filled in by somebody else.
var ErrBlank = errors.New("blank image reference")

// Reference is a parsed image reference. It is comparable; the zero value is no reference (IsZero).
type Reference struct {
	text   string        // as the author wrote it
	host   string        // canonical: docker.io for a short name
	path   string        // canonical: library/nginx for nginx
	tag    string        // empty where the text has none
	digest digest.Digest // empty where the text has none
}

// errTooLong reports a text that is longer than MaxLength.
var errTooLong = fmt.Errorf("longer than %d bytes", MaxLength)

// Parse reads text by the kubelet's grammar. Its errors name the text and the reason; ErrBlank is
// the one to branch on. A text that is longer than MaxLength is refused unread, and errors quote
// only the beginning of a long one.
func Parse(text string) (Reference, error) {
	if len(text) > MaxLength {
		return Reference{}, invalid(text, errTooLong)
	}
	if strings.TrimSpace(text) == "" {
		return Reference{}, ErrBlank
	}
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return Reference{}, invalid(text, err)
	}
	r := Reference{text: text, host: reference.Domain(named), path: reference.Path(named)}
	if len(r.host) > maxHost {
		return Reference{}, invalid(text, fmt.Errorf("its host is longer than %d bytes", maxHost))
	}
	if t, ok := named.(reference.Tagged); ok {
		r.tag = t.Tag()
	}
	if d, ok := named.(reference.Digested); ok {
		r.digest = d.Digest()
	}
	return r, nil
}

// invalid is the error for a text that is no reference.
func invalid(text string, reason error) error {
	if len(text) > maxQuoted {
		text = text[:maxQuoted] + "…"
	}
	return fmt.Errorf("invalid image reference %q: %w", text, reason)
}

// MustParse is Parse for constants; it panics on an error.
func MustParse(text string) Reference {
	r, err := Parse(text)
	if err != nil {
		panic(err)
	}
	return r
}

// IsZero tells the zero value from a parsed reference.
func (r Reference) IsZero() bool { return r.text == "" }

// String is the text as its author wrote it.
func (r Reference) String() string { return r.text }

// Host is the canonical registry host with its port, if any: docker.io for Docker Hub, however it was spelled.
func (r Reference) Host() string { return r.host }

// Path is the canonical repository path within the registry: library/nginx for nginx.
func (r Reference) Path() string { return r.path }

// Repository is Host, a slash, and Path.
func (r Reference) Repository() string { return r.host + "/" + r.path }

// Tag is the tag that the text names, DefaultTag where it names neither tag nor digest, and empty where it names a
// digest alone.
func (r Reference) Tag() string {
	if r.tag == "" && r.digest == "" {
		return DefaultTag
	}
	return r.tag
}

// Tagged tells whether the text itself holds a tag.
func (r Reference) Tagged() bool { return r.tag != "" }

// Digest is the digest that the text names, or empty.
func (r Reference) Digest() digest.Digest { return r.digest }

// Pinned tells whether the text names a digest: what runs can't change under it.
func (r Reference) Pinned() bool { return r.digest != "" }

// Canonical is the fully spelled form, docker.io/library/nginx:latest for nginx. Two references with one canonical form
// mean the same image.
func (r Reference) Canonical() string {
	switch tag := r.Tag(); { // in one piece each: it is the key of every look-up
	case r.digest == "":
		return r.host + "/" + r.path + ":" + tag
	case tag == "":
		return r.host + "/" + r.path + "@" + string(r.digest)
	default:
		return r.host + "/" + r.path + ":" + tag + "@" + string(r.digest)
	}
}

// Text is the author's text up to the digest: nginx:1.25 for nginx:1.25@sha256:….
func (r Reference) Text() string {
	if r.digest == "" {
		return r.text
	}
	return r.text[:len(r.text)-len("@")-len(r.digest)]
}

// WithDigest is the pin of r at d: the author's own text, "@" and d. A digest that r has already is replaced.
func (r Reference) WithDigest(d digest.Digest) Reference {
	r.text, r.digest = r.Text()+"@"+d.String(), d
	return r
}

// WithoutTag drops the tag of a pinned reference (nginx@sha256:…), for runtimes that refuse a tag beside a digest
// (cri-o/cri-o#8603). An unpinned reference is returned as it is: without its tag it would mean another image.
func (r Reference) WithoutTag() Reference {
	if r.tag == "" || r.digest == "" {
		return r
	}
	name := strings.TrimSuffix(r.Text(), ":"+r.tag)
	r.text, r.tag = name+"@"+r.digest.String(), ""
	return r
}

// At is the same tag and digest in another place: a registry host, and where it mirrors below a path, that path too. Its
// error says that there is no such reference, as names have a greatest length.
func (r Reference) At(place string) (Reference, error) {
	text := place + "/" + r.path
	if r.tag != "" {
		text += ":" + r.tag
	}
	if r.digest != "" {
		text += "@" + r.digest.String()
	}
	return Parse(text)
}

// Compare orders references by canonical form, then by spelling.
func Compare(a, b Reference) int {
	return cmp.Or(cmp.Compare(a.Canonical(), b.Canonical()), cmp.Compare(a.text, b.text))
}
