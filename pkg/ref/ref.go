// SPDX-License-Identifier: Apache-2.0

// Package ref parses image references into values.
//
// The grammar is the kubelet's, which is that of github.com/distribution/reference:
//
//	[host[:port]/]path[:tag][@algorithm:hex]
//
// If that package refuses a text, so does the kubelet (InvalidImageName). Anybody may write a
// reference, so this package also limits its length (MaxLength). A Reference keeps the author's
// spelling, and is written back as it was. Its canonical form is only used to find the registry.
// The package resolves nothing, and knows no registry but Docker Hub, whose short names the
// grammar itself expands.
package ref

import (
	_ "crypto/sha256" // go-digest accepts the algorithms that are linked in: the kubelet has all three
	_ "crypto/sha512"
	"errors"
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// defaultTag is the tag of a reference that has neither a tag nor a digest.
const defaultTag = "latest"

// Limits of the length of a reference, in bytes.
const (
	// MaxLength is the greatest length of a text that is parsed. No valid reference is longer: the
	// grammar limits a path to 255, a tag to 128 and the longest digest to 135 bytes, and maxHost
	// limits the host.
	MaxLength = 1024
	// maxHost is the length of the longest DNS name with a colon and a port. The grammar itself
	// does not limit the host.
	maxHost = 253 + len(":65535")
	// maxQuoted is how much of a text an error quotes.
	maxQuoted = 128
)

// ErrBlank is returned for a text of white space alone. The API server accepts an empty image
// field, for another webhook to fill in.
var ErrBlank = errors.New("blank image reference")

// Reference is a parsed image reference. References are comparable. The zero value is not a
// reference; see IsZero.
type Reference struct {
	text   string        // as the author wrote it
	host   string        // canonical: docker.io for a short name
	path   string        // canonical: library/nginx for nginx
	tag    string        // empty if the text has none
	digest digest.Digest // empty if the text has none
}

// ErrTooLong is in the error for a text that is longer than MaxLength, or whose host is longer than
// any DNS name. The kubelet has no such limits: a node that rewrites hosts may pull such an image.
var ErrTooLong = errors.New("too long")

// Parse parses text by the kubelet's grammar. It returns ErrBlank, not wrapped, if text is blank;
// any other error names the text and the reason. A text that is longer than MaxLength is refused
// before it is parsed, and an error quotes only the beginning of a long text.
func Parse(text string) (Reference, error) {
	if len(text) > MaxLength {
		return Reference{}, invalid(text, fmt.Errorf("%w: more than %d bytes", ErrTooLong, MaxLength))
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
		err := fmt.Errorf("%w: its host has more than %d bytes", ErrTooLong, maxHost)
		return Reference{}, invalid(text, err)
	}
	if t, ok := named.(reference.Tagged); ok {
		r.tag = t.Tag()
	}
	if d, ok := named.(reference.Digested); ok {
		r.digest = d.Digest()
	}
	return r, nil
}

// invalid returns the error for a text that is not a reference.
func invalid(text string, reason error) error {
	if len(text) > maxQuoted {
		text = text[:maxQuoted] + "…"
	}
	return fmt.Errorf("invalid image reference %q: %w", text, reason)
}

// MustParse is like Parse but panics if text can't be parsed. It is for constants.
func MustParse(text string) Reference {
	r, err := Parse(text)
	if err != nil {
		panic(err)
	}
	return r
}

// IsZero reports whether r is the zero value, and not a parsed reference.
func (r Reference) IsZero() bool { return r.text == "" }

// String returns the text as its author wrote it.
func (r Reference) String() string { return r.text }

// Host returns the canonical host of the registry, with its port if there is one. For Docker Hub it
// is docker.io, however the text spells it.
func (r Reference) Host() string { return r.host }

// Short reports whether the text names no host: nginx, team/app:1. The grammar adds the host of
// Docker Hub, but a container runtime may be configured to add another one.
func (r Reference) Short() bool {
	return r.host == "docker.io" && !strings.HasPrefix(r.text, "docker.io/") &&
		!strings.HasPrefix(r.text, "index.docker.io/")
}

// Path returns the canonical path of the repository within the registry: library/nginx for nginx.
func (r Reference) Path() string { return r.path }

// Repository returns Host, a slash and Path.
func (r Reference) Repository() string { return r.host + "/" + r.path }

// Tag returns the tag of the text. Without one it returns defaultTag or, if the text has a digest,
// "".
func (r Reference) Tag() string {
	if r.tag == "" && r.digest == "" {
		return defaultTag
	}
	return r.tag
}

// Tagged reports whether the text itself has a tag.
func (r Reference) Tagged() bool { return r.tag != "" }

// Digest returns the digest of the text, or "".
func (r Reference) Digest() digest.Digest { return r.digest }

// Pinned reports whether the text has a digest, so that it always means the same image.
func (r Reference) Pinned() bool { return r.digest != "" }

// Canonical returns the full spelling: docker.io/library/nginx:latest for nginx. Two references
// mean the same image if their canonical forms are equal.
func (r Reference) Canonical() string {
	// Each form is one concatenation, and so one allocation: every lookup has it as its key.
	switch tag := r.Tag(); {
	case r.digest == "":
		return r.host + "/" + r.path + ":" + tag
	case tag == "":
		return r.host + "/" + r.path + "@" + string(r.digest)
	default:
		return r.host + "/" + r.path + ":" + tag + "@" + string(r.digest)
	}
}

// Text returns the author's text without the digest: nginx:1.25 for nginx:1.25@sha256:….
func (r Reference) Text() string {
	if r.digest == "" {
		return r.text
	}
	return r.text[:len(r.text)-len("@")-len(r.digest)]
}

// WithDigest returns r pinned to d: the author's own text, "@" and d. If r has a digest, d replaces
// it.
func (r Reference) WithDigest(d digest.Digest) Reference {
	r.text, r.digest = r.Text()+"@"+d.String(), d
	return r
}

// WithoutTag returns a pinned reference without its tag (nginx@sha256:…), for runtimes that refuse
// a tag with a digest (cri-o/cri-o#8603). It returns any other reference as it is: without its tag
// it would mean another image.
func (r Reference) WithoutTag() Reference {
	if r.tag == "" || r.digest == "" {
		return r
	}
	name := strings.TrimSuffix(r.Text(), ":"+r.tag)
	r.text, r.tag = name+"@"+r.digest.String(), ""
	return r
}

// At returns the same tag and digest in another repository, which is a host, a slash and a path. It
// returns an error if the result is not a valid reference, because the path is too long, for
// example.
func (r Reference) At(repository string) (Reference, error) {
	text := repository
	if r.tag != "" {
		text += ":" + r.tag
	}
	if r.digest != "" {
		text += "@" + r.digest.String()
	}
	there, err := Parse(text)
	if err == nil && (there.tag != r.tag || there.digest != r.digest) {
		return Reference{}, invalid(text, errors.New("its repository has a tag"))
	}
	return there, err
}
