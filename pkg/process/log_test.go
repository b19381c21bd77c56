// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"errors"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
)

// TestLogLibraries checks that each line of a library is in our log once, and that nothing else is
// written to the standard error.
func TestLogLibraries(t *testing.T) {
	before := os.Stderr
	t.Cleanup(func() { os.Stderr = before })
	name := filepath.Join(t.TempDir(), "stderr")
	stderr, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	os.Stderr = stderr
	var out bytes.Buffer
	LogLibraries(NewLogger(&out, zapcore.InfoLevel))
	klog.Info("an info")
	klog.ErrorS(errors.New("why"), "an error")
	log.Print("a line")
	for range 1000 {
		log.Print(unsolicited + " with a secret")
	}
	klog.Flush()
	os.Stderr = before
	if err := stderr.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(name)
	if err != nil || len(raw) > 0 {
		t.Errorf("standard error: %q, %v, want nothing", raw, err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := []string{"an info", "an error", "a line"}
	want = append(want, slices.Repeat([]string{"a response without a request"}, 10)...)
	if len(lines) != len(want) {
		t.Fatalf("log: %q, want %d lines", lines, len(want))
	}
	for i, text := range want {
		if !strings.HasPrefix(lines[i], "{") || !strings.Contains(lines[i], text) {
			t.Errorf("line %d: %s, want JSON with %q", i, lines[i], text)
		}
	}
}
