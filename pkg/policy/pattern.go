// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Output is how a pin is written.
type Output int

// The outputs.
const (
	TagAndDigest Output = iota // nginx:1.25@sha256:…
	DigestOnly                 // nginx@sha256:…, for runtimes that refuse a tag beside a digest
)

// ParseOutput reads tag-and-digest or digest.
func ParseOutput(s string) (Output, error) {
	switch s {
	case "tag-and-digest":
		return TagAndDigest, nil
	case "digest":
		return DigestOnly, nil
	}
	return 0, fmt.Errorf("output %q: want tag-and-digest or digest", s)
}

// String is what ParseOutput reads.
func (o Output) String() string {
	if o == DigestOnly {
		return "digest"
	}
	return "tag-and-digest"
}

// Pattern matches references by canonical name: ghcr.io/a/b for every tag, ghcr.io/a/b:1.2 for one,
// docker.io/library/* for every repository below. The zero value matches nothing.
type Pattern struct {
	prefix string // up to the *, where there is one
	name   string // host/path, where there is none
	tag    string // empty: any
}

// ParsePattern reads a pattern. A name has to be canonical, with its host: docker.io/library/nginx, not nginx. A * stands
// at the end alone, after a slash or within the last name.
func ParsePattern(s string) (Pattern, error) {
	if prefix, ok := strings.CutSuffix(s, "*"); ok {
		host, _, slash := strings.Cut(prefix, "/")
		if !slash || host == "" || strings.ContainsAny(prefix, "*@ ") {
			return Pattern{}, fmt.Errorf("image pattern %q: want host/path, with * at the end alone", s)
		}
		// One repository that it would cover shows whether it can cover any.
		r, err := ref.Parse(prefix + "x")
		switch {
		case err != nil:
			return Pattern{}, fmt.Errorf("image pattern %q: %w", s, err)
		case !strings.HasPrefix(r.Canonical(), prefix):
			canonical := strings.TrimSuffix(r.Canonical(), "x:"+ref.DefaultTag)
			return Pattern{}, fmt.Errorf("image pattern %q: want the canonical name, %s*", s, canonical)
		}
		return Pattern{prefix: prefix}, nil
	}
	if strings.Contains(s, "*") {
		return Pattern{}, fmt.Errorf("image pattern %q: * stands at the end alone", s)
	}
	r, err := ref.Parse(s)
	switch {
	case err != nil:
		return Pattern{}, fmt.Errorf("image pattern %q: %w", s, err)
	case r.Pinned():
		return Pattern{}, fmt.Errorf("image pattern %q: a digest is pinned already", s)
	case r.Repository() != strings.TrimSuffix(s, ":"+r.Tag()):
		return Pattern{}, fmt.Errorf("image pattern %q: want the canonical name, %s", s, r.Repository())
	}
	p := Pattern{name: r.Repository()}
	if r.Tagged() {
		p.tag = r.Tag()
	}
	return p, nil
}

// Match tells whether the pattern covers r, which has no digest.
func (p Pattern) Match(r ref.Reference) bool {
	if p.prefix != "" {
		return strings.HasPrefix(r.Canonical(), p.prefix)
	}
	return p.name != "" && r.Repository() == p.name && (p.tag == "" || r.Tag() == p.tag)
}

// SkipOwner is a controller that compares the image texts of its pods, and would delete pinned ones for ever. It holds
// for the creation by one of Users alone: an owner reference by itself proves nothing.
type SkipOwner struct {
	Owner workload.Kind
	Users []string // exact, or a prefix with * at its end
}

// ParseSkipOwner reads an owner as group/Kind, and its users, of whom at least one is needed.
func ParseSkipOwner(owner string, users []string) (SkipOwner, error) {
	group, kind, ok := strings.Cut(owner, "/")
	if !ok {
		group, kind = "", owner
	}
	var errs []error
	if kind == "" || strings.Contains(kind, "/") {
		errs = append(errs, fmt.Errorf("owner %q: want group/Kind", owner))
	}
	if len(users) == 0 {
		errs = append(errs, fmt.Errorf("owner %q: users are missing: anybody may write an owner reference", owner))
	}
	for _, u := range users {
		if prefix := strings.TrimSuffix(u, "*"); prefix == "" || strings.Contains(prefix, "*") {
			errs = append(errs, fmt.Errorf("owner %q: user %q: want a name, or a prefix with * at its end", owner, u))
		}
	}
	return SkipOwner{Owner: workload.Kind{Group: group, Kind: kind}, Users: users}, errors.Join(errs...)
}

// Match tells whether user created the object as this owner.
func (s SkipOwner) Match(o workload.Owner, user string) bool {
	if s.Owner != (workload.Kind{Group: o.Group(), Kind: o.Kind}) {
		return false
	}
	for _, u := range s.Users {
		prefix, glob := strings.CutSuffix(u, "*")
		if user == u || glob && strings.HasPrefix(user, prefix) {
			return true
		}
	}
	return false
}
