// SPDX-License-Identifier: Apache-2.0

package playground

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestRun types lines, and then interrupts the program.
func TestRun(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	stopped := false
	start := func(context.Context, io.Writer) (*Playground, error) {
		return &Playground{
			Guide: "the guide\n",
			Commands: map[string]func(context.Context) (string, error){
				"": func(context.Context) (string, error) { return "moved", nil },
				"down": func(context.Context) (string, error) {
					interrupt()
					return "went down", nil
				},
			},
			Background: func(ctx context.Context) error {
				<-ctx.Done()
				return nil
			},
			Stop: func() error { stopped = true; return errors.New("something stays") },
		}, nil
	}
	var stdout, stderr bytes.Buffer
	code := Run(ctx, "test", start, nil, strings.NewReader("\nup\n down \n"), &stdout, &stderr)
	want := "moved\nunknown command \"up\"; there are the Enter key and down\nwent down\n" +
		"\nstopping\ntest: stopping: something stays\n"
	if code != ExitOK || stdout.String() != "the guide\n" || stderr.String() != want || !stopped {
		t.Errorf("Run = %d, stdout %q, stderr %q, stopped %t, want %d, the guide, %q",
			code, stdout.String(), stderr.String(), stopped, ExitOK, want)
	}
}

// TestFailures has a start, a command, and something in the background that fail.
func TestFailures(t *testing.T) {
	failure := errors.New("no room")
	fail := func(context.Context) error { return failure }
	for name, start := range map[string]Start{
		"start": func(context.Context, io.Writer) (*Playground, error) { return nil, failure },
		"command": func(context.Context, io.Writer) (*Playground, error) {
			return &Playground{
				Commands: map[string]func(context.Context) (string, error){
					"": func(context.Context) (string, error) { return "", failure },
				},
				Stop: func() error { return nil },
			}, nil
		},
		"background": func(context.Context, io.Writer) (*Playground, error) {
			return &Playground{Background: fail, Stop: func() error { return nil }}, nil
		},
	} {
		var stderr bytes.Buffer
		code := Run(t.Context(), "test", start, nil, strings.NewReader("\n"), io.Discard, &stderr)
		if code != ExitFailed || !strings.Contains(stderr.String(), "test: no room\n") {
			t.Errorf("Run with a failure of the %s = %d, %q, want %d and the failure",
				name, code, stderr.String(), ExitFailed)
		}
	}
}

func TestUsage(t *testing.T) {
	var stderr bytes.Buffer
	code := Run(t.Context(), "test", nil, []string{"up"}, nil, io.Discard, &stderr)
	if code != ExitUsage || !strings.Contains(stderr.String(), `"up"`) {
		t.Errorf("Run with an argument = %d, %q, want %d and the argument",
			code, stderr.String(), ExitUsage)
	}
}
