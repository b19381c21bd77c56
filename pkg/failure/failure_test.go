// SPDX-License-Identifier: Apache-2.0

package failure_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

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
