// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
)

// endlessInput is stdin of a program that writes nothing and does not end.
type endlessInput struct {
	began func() // is called when somebody reads
	end   <-chan struct{}
}

func (e endlessInput) Read([]byte) (int, error) {
	e.began()
	<-e.end
	return 0, io.EOF
}

// TestInterruptedStdin interrupts commands that wait for stdin.
func TestInterruptedStdin(t *testing.T) {
	for _, args := range []string{
		"pin", "pin -", "pin --diff nowhere.yaml -", "check", "resolve -", "resolve nginx -",
		"config validate -",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		stdin := endlessInput{cancel, t.Context().Done()}
		checkInterrupted(ctx, t, append([]string{"tagpin"}, strings.Fields(args)...), stdin)
	}
}

// checkInterrupted checks that a command that ctx ends says only that.
func checkInterrupted(ctx context.Context, t *testing.T, args []string, stdin io.Reader) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(ctx, args, stdin, &out, &errs)
	want := "tagpin: " + errInterrupted.Error() + "\n"
	if code != exitSignal || out.Len() > 0 || errs.String() != want {
		t.Errorf("%q = %d, %q, %q, want %d and %q", args, code, &out, &errs, exitSignal, want)
	}
}
