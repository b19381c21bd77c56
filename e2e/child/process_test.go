// SPDX-License-Identifier: Apache-2.0

package child

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// TestProcess starts a program twice. The second one ends by itself.
func TestProcess(t *testing.T) {
	p := &Process{
		Path: "/bin/sh", Args: []string{"-c", "echo $GREETING; exec sleep 3600"},
		Env: []string{"GREETING=hello"}, LogFile: filepath.Join(t.TempDir(), "log"),
	}
	if err := p.Kill(); err != nil {
		t.Errorf("Kill before Start = %v, want nil", err)
	}
	said := func(text string) func(context.Context) error {
		return func(context.Context) error {
			if !strings.Contains(p.Log(), text) {
				return errors.New("it has not said " + text)
			}
			return nil
		}
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context(), said("hello\n")); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := p.Wait(ctx, said("bye"))
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "it has not said bye") {
		t.Errorf("Wait = %v, want the end of the context and what is missing", err)
	}
	for range 2 {
		if err := p.Kill(); err != nil {
			t.Errorf("Kill = %v, want nil", err)
		}
	}
	p.Args = []string{"-c", "exit 7"}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	err = p.Wait(t.Context(), said("bye"))
	if err == nil || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("Wait for a program that ended = %v, want its exit status", err)
	}
	if got := p.Log(); got != "hello\n" {
		t.Errorf("Log = %q, want that of the first start", got)
	}
}
