// SPDX-License-Identifier: Apache-2.0

package panics

import (
	"errors"
	"strings"
	"testing"
)

func TestCatch(t *testing.T) {
	var reported []*Error
	r := &Reporter{Report: func(e *Error) { reported = append(reported, e) }}
	var empty []error
	err := r.Catch("reading a secret", func() error { return empty[len(reported)] })
	var caught *Error
	if !errors.As(err, &caught) || len(reported) != 1 || reported[0] != caught {
		t.Fatalf("Catch = %v, reported %v, want one *Error, reported once", err, reported)
	}
	if got, want := err.Error(), "internal error while reading a secret"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	for _, want := range []string{"index out of range", "panics_test.go"} {
		if !strings.Contains(caught.String(), want) {
			t.Errorf("String() = %s, want a text that contains %q", caught, want)
		}
	}
}

func TestCatchWithoutPanic(t *testing.T) {
	want := errors.New("an error of f")
	for name, r := range map[string]*Reporter{"nil": nil, "zero": {}} {
		if err := r.Catch("testing", func() error { return want }); !errors.Is(err, want) {
			t.Errorf("%s Reporter: Catch = %v, want %v", name, err, want)
		}
	}
}

func TestCatchWithoutReport(t *testing.T) {
	for name, r := range map[string]*Reporter{"nil": nil, "zero": {}} {
		if err := r.Catch("testing", func() error { panic("no") }); err == nil {
			t.Errorf("%s Reporter: Catch = nil after a panic, want an error", name)
		}
	}
}
