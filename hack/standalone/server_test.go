// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestStartOfAProgramThatExits checks that the error has the output of the program.
func TestStartOfAProgramThatExits(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	const nowhere = "127.0.0.1:1"
	_, err := Start(t.Context(), http.DefaultClient, nowhere, log, "go", "nonsense")
	if err == nil || !strings.Contains(err.Error(), "go exited:\ngo nonsense: unknown command") {
		t.Errorf("Start = %v, want an error with the output of go", err)
	}
}
