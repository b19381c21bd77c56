// SPDX-License-Identifier: Apache-2.0

package opentofu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/tagpin/tagpin/e2e/neighbours"
	"github.com/tagpin/tagpin/e2e/tools"
)

// env is the environment of all tests. Each has its own namespace.
var env *neighbours.Env

func TestMain(m *testing.M) {
	os.Exit(neighbours.Tests{
		Name: "opentofu", Program: "OpenTofu",
		Modules: []string{
			"github.com/opentofu/opentofu", "github.com/hashicorp/terraform-provider-kubernetes",
		},
		Parts:  []string{"provider"},
		Before: start,
	}.Run(m, &env))
}

// start writes OpenTofu's settings, which name the folder of the provider, and builds tagpin.
func start(ctx context.Context, e *neighbours.Env) error {
	settings := fmt.Sprintf(`provider_installation {
  dev_overrides { "hashicorp/kubernetes" = %q }
}
`, e.Parts[0].Dir)
	if err := os.WriteFile(settingsFile(e), []byte(settings), 0o600); err != nil {
		return err
	}
	root, err := tools.Module(ctx)
	if err != nil {
		return err
	}
	return tools.Go(ctx, filepath.Dir(root), "build", "-trimpath",
		"-o", filepath.Join(e.Scratch, "tagpin"), "./cmd/tagpin")
}

func settingsFile(e *neighbours.Env) string { return filepath.Join(e.Scratch, "tofu.rc") }
