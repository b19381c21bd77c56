// SPDX-License-Identifier: Apache-2.0

// Package resolvetest is what tests of resolvers, and of what is built on them, share: one fake registry of digests, and
// one test of what every Resolver promises.
//
//	fake := &resolvetest.Fake{}
//	fake.Set("nginx:1", resolvetest.Digest("first"))
//	fake.Fail("ghcr.io/a/b", failure.Unauthorized)
//
// It speaks to no registry; package resolve's own tests do, to one in memory.
package resolvetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// Digest is a well-formed digest that text stands for: in a test, D1 says more than 64 hex digits.
func Digest(text string) digest.Digest { return digest.SHA256.FromString(text) }

// Fake is a Resolver that answers what it was told to, by canonical reference, and notes what it was asked. What it was
// not told is not found. The zero value is ready; it is safe for concurrent use.
type Fake struct {
	mu      sync.Mutex
	answers map[string]answer
	asked   []resolve.Request
}

type answer struct {
	digest digest.Digest
	err    error
	hold   chan struct{} // not nil: the answer waits until it is closed
}

// Set makes image resolve to d from now on.
func (f *Fake) Set(image string, d digest.Digest) { f.answer(image, answer{digest: d}) }

// Fail makes look-ups of image fail with err, which has to be in a class of package resolve.
func (f *Fake) Fail(image string, err error) {
	f.answer(image, answer{err: fmt.Errorf("%s: %w", canonical(image), err)})
}

// Hold makes look-ups of image wait until the function that it gives is called, and then resolve to d.
func (f *Fake) Hold(image string, d digest.Digest) (release func()) {
	hold := make(chan struct{})
	f.answer(image, answer{digest: d, hold: hold})
	return sync.OnceFunc(func() { close(hold) })
}

func (f *Fake) answer(image string, a answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.answers == nil {
		f.answers = map[string]answer{}
	}
	f.answers[canonical(image)] = a
}

func canonical(image string) string { return ref.MustParse(image).Canonical() }

// Resolve answers at once, unless it is told to hold the answer back: then it waits, but no longer than ctx.
func (f *Fake) Resolve(ctx context.Context, req resolve.Request) (resolve.Result, error) {
	name := req.Ref.Canonical()
	if err := req.Begin(); err != nil {
		return resolve.Result{}, err
	}
	f.mu.Lock()
	f.asked = append(f.asked, req)
	a, ok := f.answers[name]
	f.mu.Unlock()
	if a.hold != nil {
		select {
		case <-a.hold:
		case <-ctx.Done():
		}
	}
	switch {
	case ctx.Err() != nil:
		return resolve.Result{}, fmt.Errorf("%s: %w: %w", name, failure.Unavailable, context.Cause(ctx))
	case !ok:
		return resolve.Result{}, fmt.Errorf("%s: %w", name, failure.NotFound)
	case a.err != nil:
		return resolve.Result{}, a.err
	}
	return resolve.Result{Digest: a.digest}, nil
}

// Asked is what it was asked so far, in order.
func (f *Fake) Asked() []resolve.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]resolve.Request(nil), f.asked...)
}

// Calls counts the look-ups of image.
func (f *Fake) Calls(image string) int {
	n, want := 0, canonical(image)
	for _, req := range f.Asked() {
		if req.Ref.Canonical() == want {
			n++
		}
	}
	return n
}

// Class returns the class that an error is in. ok is false if it is in none or in several: then it
// is not an error of a Resolver.
func Class(err error) (class failure.Class, ok bool) {
	for _, c := range []failure.Class{
		failure.NotFound, failure.Unauthorized, failure.Unavailable, failure.Invalid,
	} {
		if !errors.Is(err, c) {
			continue
		}
		if ok {
			return "", false
		}
		class, ok = c, true
	}
	return class, ok
}
