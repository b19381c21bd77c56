// SPDX-License-Identifier: Apache-2.0

// Package childtest helps to test what remains after a process was killed.
package childtest

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Start runs the binary of this test again, with a variable in its environment by which its
// TestMain knows what to do. It returns the first line of the output, and a function that kills the
// process and waits until it has ended.
func Start(t *testing.T, variable, value string) (line string, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), variable+"="+value), os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ = bufio.NewReader(stdout).ReadString('\n') // no line: the process has failed
	return strings.TrimSpace(line), func() {
		t.Helper()
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
	}
}
