// SPDX-License-Identifier: Apache-2.0

package panics

import (
	"errors"
	"fmt"
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
	if value := fmt.Sprint(caught.Value); !strings.Contains(value, "index out of range") {
		t.Errorf("Value = %s, want the argument of the panic", value)
	}
	if stack := string(caught.Stack); !strings.Contains(stack, "panics_test.go") {
		t.Errorf("Stack = %s, want that of this test", stack)
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
