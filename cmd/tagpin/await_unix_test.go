// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestInterruptedPipe interrupts commands that wait for a pipe that an argument names, as a shell
// makes one of <(helm template chart).
func TestInterruptedPipe(t *testing.T) {
	for _, args := range []string{
		"pin PIPE", "check PIPE", "pin --config PIPE -", "check --config PIPE -",
		"resolve --config PIPE nginx", "config validate PIPE", "config from-containerd PIPE",
		"audit --kubeconfig PIPE",
	} {
		t.Run(args, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.yaml")
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			opened := make(chan *os.File, 1)
			go func() {
				pipe, err := os.OpenFile(path, os.O_WRONLY, 0) // waits until the command opens it
				if err != nil {
					t.Error(err)
				}
				cancel()
				opened <- pipe
			}()
			words := strings.Fields(strings.ReplaceAll("tagpin "+args, "PIPE", path))
			checkInterrupted(ctx, t, words, strings.NewReader(""))
			_ = (<-opened).Close()
		})
	}
}
