// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Output is how a pin is written.
type Output string

// The outputs. The zero value is TagAndDigest.
const (
	TagAndDigest Output = "tag-and-digest" // nginx:1.25@sha256:…
	DigestOnly   Output = "digest"         // nginx@sha256:…, for runtimes that refuse both
)

// ParseOutput returns an error unless s is one of the outputs.
func ParseOutput(s string) (Output, error) {
	if o := Output(s); o == TagAndDigest || o == DigestOnly {
		return o, nil
	}
	return "", fmt.Errorf("%q: want tag-and-digest or digest", s)
}

// Pattern matches references by canonical name: ghcr.io/a/b matches every tag, ghcr.io/a/b:1.2 one
// tag, and docker.io/library/* every repository below docker.io/library. The zero value matches
// nothing.
type Pattern string

// ParsePattern parses a pattern. The name must be canonical, with its host:
// docker.io/library/nginx, not nginx. A * may only be the last character, after a slash or within
// the last path component.
func ParsePattern(s string) (Pattern, error) {
	fail := func(format string, args ...any) (Pattern, error) {
		return "", fmt.Errorf("image pattern %q: %w", s, fmt.Errorf(format, args...))
	}
	text := s
	prefix, glob := strings.CutSuffix(s, "*")
	if glob {
		text = prefix + "x" // the prefix is canonical if it is with one more letter
	}
	host, _, slash := strings.Cut(prefix, "/")
	r, err := ref.Parse(text)
	canonical := r.Repository()
	if r.Tagged() {
		canonical += ":" + r.Tag()
	}
	switch {
	case strings.Contains(prefix, "*"):
		return fail("* may only be the last character")
	case glob && (!slash || host == "" || strings.ContainsAny(prefix, "@ ")):
		return fail("want host/path, with * only as the last character")
	case err != nil:
		return fail("%w", err)
	case r.Pinned():
		return fail("want no digest, since an image with a digest is never changed")
	case glob && !strings.HasPrefix(canonical, prefix):
		return fail("want the canonical name, %s*", strings.TrimSuffix(canonical, "x"))
	case !glob && canonical != text:
		return fail("want the canonical name, %s", canonical)
	}
	return Pattern(s), nil
}

// Match reports whether the pattern matches r, which must not have a digest.
func (p Pattern) Match(r ref.Reference) bool {
	if prefix, glob := strings.CutSuffix(string(p), "*"); glob {
		return strings.HasPrefix(r.Canonical(), prefix)
	}
	return string(p) == r.Repository() || string(p) == r.Canonical()
}

// SkipOwner is a controller that compares the image texts of its pods, and would delete pinned pods
// again and again. It only matches objects that one of Users creates: an owner reference alone
// proves nothing.
type SkipOwner struct {
	Owner workload.Kind
	Users []string // names of users, or prefixes of names that end in *
}

// ParseSkipOwner parses an owner, written as group/Kind, and its users. At least one user is
// required. The error names all mistakes.
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
		errs = append(errs, fmt.Errorf(
			"owner %q: want at least one user, since anybody may write an owner reference", owner))
	}
	for _, u := range users {
		if prefix := strings.TrimSuffix(u, "*"); prefix == "" || strings.Contains(prefix, "*") {
			errs = append(errs, fmt.Errorf(
				"owner %q: user %q: want a name, or a prefix that ends in *", owner, u))
		}
	}
	s := SkipOwner{Owner: workload.Kind{Group: group, Kind: kind}, Users: users}
	return s, errors.Join(errs...)
}

// Match reports whether o is this owner, and user one of its users.
func (s SkipOwner) Match(o workload.Owner, user string) bool {
	if s.Owner != o.GroupKind() {
		return false
	}
	return slices.ContainsFunc(s.Users, func(u string) bool {
		prefix, glob := strings.CutSuffix(u, "*")
		return user == u || glob && strings.HasPrefix(user, prefix)
	})
}
