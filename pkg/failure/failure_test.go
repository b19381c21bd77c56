// SPDX-License-Identifier: Apache-2.0

package failure_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tagpin/tagpin/pkg/failure"
)

func TestOf(t *testing.T) {
	for _, class := range []failure.Class{
		failure.NotFound, failure.Unauthorized, failure.Unavailable, failure.Invalid,
	} {
		cause := fmt.Errorf("reading: %w", io.ErrUnexpectedEOF)
		err := fmt.Errorf("image: %w", failure.New(class, cause))
		if failure.Of(err) != class || !errors.Is(err, class) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Of(%v) = %q, want %q, and errors.Is to find the class and the cause",
				err, failure.Of(err), class)
		}
		if want := "image: reading: unexpected EOF"; err.Error() != want {
			t.Errorf("Error() = %q, want %q without the class", err, want)
		}
	}
	if got := failure.Of(io.EOF); got != failure.Unavailable {
		t.Errorf("Of(%v) = %q, want %q", io.EOF, got, failure.Unavailable)
	}
}

// TestCause checks that the cause for the operator survives wrapping and is not in the text.
func TestCause(t *testing.T) {
	plain := failure.Errorf(failure.Unavailable, "a.b: unreachable")
	if got, want := failure.Cause(plain), "a.b: unreachable"; got != want {
		t.Errorf("Cause(%v) = %s, want %s", plain, got, want)
	}
	err := fmt.Errorf("image: %w", failure.WithCause(plain, "a.b: connection refused"))
	if got, want := failure.Cause(err), "a.b: connection refused"; got != want {
		t.Errorf("Cause(%v) = %s, want %s", err, got, want)
	}
	if want := "image: a.b: unreachable"; err.Error() != want || failure.Of(err) != failure.Unavailable {
		t.Errorf("error %v of class %s, want %s, unavailable", err, failure.Of(err), want)
	}
}

// TestLongCause checks that a cause is cut between characters.
func TestLongCause(t *testing.T) {
	for _, cause := range []string{strings.Repeat("x", 5000), strings.Repeat("ä", 5000), "x" + strings.Repeat("日", 5000)} {
		got := failure.Cause(failure.WithCause(failure.Errorf(failure.NotFound, "gone"), cause))
		if len(got) > failure.MaxCause || len(got) < failure.MaxCause-4 || !strings.HasSuffix(got, "…") || !utf8.ValidString(got) {
			t.Errorf("Cause = %d bytes, %q…, want nearly %d", len(got), got[:10], failure.MaxCause)
		}
	}
}
