// SPDX-License-Identifier: Apache-2.0

// Package failure has the four classes of failed lookups, and the actions that onFailure can have
// for a class. Metrics, answers and the config's onFailure name a class by its value, such as
// notFound; Error is for people.
//
//	err := failure.Errorf(failure.NotFound, "ghcr.io: 404 Not Found")
//	errors.Is(err, failure.NotFound) // true
//	failure.Of(err)                  // notFound
package failure

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// Class is the class of a failed lookup. Every error of a Resolver is in exactly one class. A class
// is an error itself, so that errors.Is finds it.
type Class string

// The classes.
const (
	// NotFound means that the registry says that there is no such manifest.
	NotFound Class = "notFound"
	// Unauthorized means that the registry accepted no credential.
	Unauthorized Class = "unauthorized"
	// Unavailable means that another attempt may succeed: the registry was unreachable, limited its
	// requests, timed out or had an error of its own.
	Unavailable Class = "unavailable"
	// Invalid means that the registry's answer can't be used.
	Invalid Class = "invalid"
)

// Classes returns all classes.
func Classes() []Class { return []Class{NotFound, Unauthorized, Unavailable, Invalid} }

// Action is what happens to an object if a lookup fails.
type Action string

// The actions.
const (
	Deny  Action = "deny"  // the object is denied
	Defer Action = "defer" // a workload is admitted as it is, and its pods are denied
	Allow Action = "allow" // the object is admitted, and the reference is not pinned
)

// Milder returns the one of two actions that refuses less.
func (a Action) Milder(b Action) Action {
	for _, mild := range []Action{Allow, Defer} {
		if a == mild || b == mild {
			return mild
		}
	}
	return Deny
}

// Actions has the action of each class. That of a class which is not in it is Deny.
type Actions map[Class]Action

// Of returns the action for an error of a Resolver.
func (a Actions) Of(err error) Action { return cmp.Or(a[Of(err)], Deny) }

// Error returns the class in words.
func (c Class) Error() string {
	switch c {
	case NotFound:
		return "not found"
	case Invalid:
		return "invalid answer"
	}
	return string(c)
}

// Of returns the class of err, which is not nil. An error without a class is Unavailable, because
// something has cut the lookup off before a registry could answer.
func Of(err error) Class {
	class := Unavailable
	errors.As(err, &class)
	return class
}

// New puts an error in a class. The text of the result is that of cause.
func New(class Class, cause error) error { return &classified{class, cause} }

// Errorf is New for an error of fmt.Errorf.
func Errorf(class Class, format string, args ...any) error {
	return New(class, fmt.Errorf(format, args...))
}

// Cause returns why a lookup failed, in words that are for the operator and the log alone: it may
// say what tenants must not learn. If err has no other cause than its text, it returns that.
func Cause(err error) string {
	var known interface{ Cause() string }
	if errors.As(err, &known) {
		return known.Cause()
	}
	return err.Error()
}

// MaxCause is the greatest length of a Cause in bytes, and what a log line has of it. The outcomes
// of an object with thousands of images each hold one until the object is answered.
const MaxCause = 1024

// WithCause returns err with another Cause, of which it keeps MaxCause bytes.
func WithCause(err error, cause string) error {
	if len(cause) > MaxCause {
		const more = "…"
		cause = strings.ToValidUTF8(cause[:MaxCause-len(more)], "") + more
	}
	return &caused{err, cause}
}

type caused struct {
	error

	cause string
}

// Cause returns the cause that is for the operator.
func (c *caused) Cause() string { return c.cause }

// Unwrap returns the error.
func (c *caused) Unwrap() error { return c.error }

type classified struct{ class, cause error }

// Error implements error.
func (c *classified) Error() string { return c.cause.Error() }

// Unwrap returns the class before the cause, so that Of finds this class first.
func (c *classified) Unwrap() []error { return []error{c.class, c.cause} }
