// SPDX-License-Identifier: Apache-2.0

// Package resolvetest has what tests of resolvers and of their users share: a fake resolver, and a
// test of what every Resolver promises.
//
//	fake := &resolvetest.Fake{}
//	fake.Set("nginx:1", resolvetest.Digest("first"))
//	fake.Fail("ghcr.io/a/b", failure.Unauthorized)
//
// The fake asks no registry. The tests of package resolve ask one in memory.
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

// Digest returns a well-formed digest that text stands for.
func Digest(text string) digest.Digest { return digest.SHA256.FromString(text) }

// Fake is a Resolver with a fixed answer for each canonical reference. Others are not found. It
// records its requests. The zero value is ready. It is safe for concurrent use.
type Fake struct {
	mu      sync.Mutex
	answers map[string]answer
	asked   []resolve.Request
}

type answer struct {
	digest digest.Digest
	err    error
	hold   chan struct{} // if not nil, the answer waits until it is closed
}

// Set makes image resolve to d.
func (f *Fake) Set(image string, d digest.Digest) { f.answer(image, answer{digest: d}) }

// Fail makes lookups of image fail with err, which has a class of package failure.
func (f *Fake) Fail(image string, err error) {
	f.answer(image, answer{err: fmt.Errorf("%s: %w", canonical(image), err)})
}

// Hold makes image resolve to d, but not before the function that it returns is called.
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

// Resolve answers at once, or when a held answer is released or ctx ends.
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

// Asked returns the requests so far, in order.
func (f *Fake) Asked() []resolve.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]resolve.Request(nil), f.asked...)
}

// Calls returns the number of lookups of image.
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
