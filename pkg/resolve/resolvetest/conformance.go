// SPDX-License-Identifier: Apache-2.0

package resolvetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// Subject is a Resolver to test, with references whose answers are known.
type Subject struct {
	Resolver resolve.Resolver
	// Image resolves to the digest that Move returned last. Move points its tag to another manifest.
	Image ref.Reference
	Move  func() digest.Digest
	// Each of these fails in its class.
	NotFound, Unauthorized, Unavailable, Invalid ref.Reference
	// Hangs has no answer before the request's context ends.
	Hangs ref.Reference
}

// secret is a part of the credentials, and must not be in an error.
const secret = "canary-password"

// request returns a request with credentials from a keychain and as a list.
func request(r ref.Reference, fresh bool) resolve.Request {
	creds := []keychain.Credential{
		{Auth: authn.AuthConfig{Username: "user", Password: secret}},
		{Auth: authn.AuthConfig{Username: "behind"}},
	}
	creds = creds[:1] // with capacity, which a resolver must not use
	keys := func(context.Context, ref.Reference, bool) []keychain.Credential { return creds }
	return resolve.Request{
		Ref: r, Namespace: "ns", Fresh: fresh, Credentials: creds, Keychain: keychain.Func(keys),
	}
}

// Conformance tests what every Resolver promises. open returns a new subject for each part.
func Conformance(t *testing.T, open func(*testing.T) Subject) {
	for name, part := range map[string]func(*testing.T, Subject){
		"digest":             digests,
		"fresh":              freshness,
		"classes":            classes,
		"cancelled":          cancelled,
		"concurrent":         concurrent,
		"request is left":    requestIsLeft,
		"without credential": anonymous,
	} {
		t.Run(name, func(t *testing.T) { part(t, open(t)) })
	}
}

// digests checks that an answer is a well-formed sha256 digest, also if it is remembered.
func digests(t *testing.T, s Subject) {
	want := s.Move()
	for _, fresh := range []bool{false, true, false} {
		check(t, s, request(s.Image, fresh), want)
	}
}

func check(t *testing.T, s Subject, req resolve.Request, want digest.Digest) {
	t.Helper()
	got, err := s.Resolver.Resolve(t.Context(), req)
	if err != nil || got.Digest != want {
		t.Errorf("Resolve(%s) = %v, %v, want %s", req.Ref, got, err, want)
		return
	}
	if got.Digest.Validate() != nil || got.Digest.Algorithm() != digest.SHA256 {
		t.Errorf("Resolve(%s) = %s, want a well-formed sha256 digest", req.Ref, got.Digest)
	}
	if req.Fresh && (got.Cached || got.Stale) {
		t.Errorf("Resolve(%s) = %+v, want a fresh request answered by the registry", req.Ref, got)
	}
}

// freshness checks that a fresh request sees a tag that was moved just before.
func freshness(t *testing.T, s Subject) {
	for range 3 {
		check(t, s, request(s.Image, true), s.Move())
	}
}

// classes checks that each failure is in exactly one class, also if it is remembered, and has no
// secret in its text.
func classes(t *testing.T, s Subject) {
	for r, want := range s.failures() {
		for _, fresh := range []bool{false, true, false} {
			got, err := s.Resolver.Resolve(t.Context(), request(r, fresh))
			if class, ok := Class(err); !ok || class != want {
				t.Errorf("Resolve(%s), fresh %t: %v, want it in the class %q alone", r, fresh, err, want)
			}
			if got.Digest != "" {
				t.Errorf("Resolve(%s) = %s and %v, want no digest beside an error", r, got.Digest, err)
			}
			if strings.Contains(fmt.Sprint(err), secret) {
				t.Errorf("Resolve(%s): %v has a password", r, err)
			}
		}
	}
}

func (s Subject) failures() map[ref.Reference]failure.Class {
	return map[ref.Reference]failure.Class{
		s.NotFound: failure.NotFound, s.Unauthorized: failure.Unauthorized,
		s.Unavailable: failure.Unavailable, s.Invalid: failure.Invalid,
	}
}

// cancelled checks that a request ends with its context, before or during the lookup, and that this
// says nothing about the image.
func cancelled(t *testing.T, s Subject) {
	want := s.Move()
	for _, fresh := range []bool{false, true} {
		before, cancel := context.WithCancel(t.Context())
		cancel()
		meanwhile, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		for _, ctx := range []context.Context{before, meanwhile} {
			_, err := s.Resolver.Resolve(ctx, request(s.Hangs, fresh))
			if class, ok := Class(err); !ok || class != failure.Unavailable {
				t.Errorf("Resolve(%s), fresh %t: %v, want it unavailable", s.Hangs, fresh, err)
			}
		}
		// Other requests don't wait for it, and don't fail.
		check(t, s, request(s.Image, fresh), want)
	}
}

// concurrent checks that many requests at the same time get their own answers.
func concurrent(t *testing.T, s Subject) {
	want := s.Move()
	var wg sync.WaitGroup
	for i := range 16 {
		fresh := i%2 == 0
		wg.Go(func() {
			check(t, s, request(s.Image, fresh), want)
		})
		for r, want := range s.failures() {
			wg.Go(func() {
				if _, err := s.Resolver.Resolve(t.Context(), request(r, fresh)); !errors.Is(err, want) {
					t.Errorf("Resolve(%s): %v, want %v", r, err, want)
				}
			})
		}
	}
	wg.Wait()
}

// requestIsLeft checks that a resolver does not change the caller's list of credentials.
func requestIsLeft(t *testing.T, s Subject) {
	want := s.Move()
	req := request(s.Image, true)
	behind := req.Credentials[:cap(req.Credentials)]
	before := slices.Clone(behind)
	check(t, s, req, want)
	if !slices.Equal(before, behind) {
		t.Errorf("Resolve(%s) has changed the candidates: %v", s.Image, behind)
	}
}

// anonymous checks that a request without credentials gets an answer.
func anonymous(t *testing.T, s Subject) {
	want := s.Move()
	check(t, s, resolve.Request{Ref: s.Image}, want)
	check(t, s, resolve.Request{Ref: s.Image, Keychain: keychain.Chain{}, Fresh: true}, want)
}
