// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
)

// TestNoDockerConfig checks that a Docker config in the process's environment is not taken for the
// identity of a cloud, which all namespaces share.
func TestNoDockerConfig(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("DOCKER_CONFIG", dir)
	config := `{"auths":{"r.azurecr.io":{"auth":"dTpjYW5hcnk="}}}` // u:canary
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := name.NewRegistry("r.azurecr.io")
	if err != nil {
		t.Fatal(err)
	}
	auth, err := libraries{}.Resolve(r)
	if auth != nil || err == nil {
		t.Errorf("Resolve = %v, %v, want an error", auth, err)
	}
}
