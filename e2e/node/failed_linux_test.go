// SPDX-License-Identifier: Apache-2.0

package node

import (
	"os"
	"strings"
	"testing"
)

// TestFailedStart checks that a failed start reports the cause and leaves nothing behind.
func TestFailedStart(t *testing.T) {
	if err := supported(); err != nil {
		t.Skip(err)
	}
	tmp, err := os.MkdirTemp("", "n") // a short name, for the paths of sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	_, err = Start(t.Context(), Options{Progress: os.Stderr, APIServerFlags: []string{"--no-such-flag"}})
	if err == nil || !strings.Contains(err.Error(), "kube-apiserver: exit status 1") || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
		t.Errorf("Start = %v, want the error of kube-apiserver", err)
	}
	if err := os.Remove(tmp); err != nil { // fails if the folder is not empty
		t.Error(err)
	}
}
