// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
)

// Registries are the programs of registries that are built from the module e2e/programs.
type Registries struct {
	Distribution2 string
	Gitea         string
	GiteaFiles    string // the folder of the files that Gitea reads
}

// BuildRegistries builds the programs of registries. They stay in the cache folder like those of
// [Build].
func BuildRegistries(ctx context.Context, progress io.Writer) (Registries, error) {
	root, err := Module(ctx)
	if err != nil {
		return Registries{}, err
	}
	module := filepath.Join(root, "programs")
	dir, err := buildCached(ctx, progress, "registries", module, "-s -w", map[string]string{
		"distribution2": "./distribution2", "gitea": "./gitea",
	})
	if err != nil {
		return Registries{}, err
	}
	const gitea = "code.gitea.io/gitea"
	if err := Go(ctx, module, "mod", "download", gitea); err != nil {
		return Registries{}, err
	}
	files, err := exec.CommandContext(ctx, "go", "-C", module, "list", "-m", "-f", "{{.Dir}}", gitea).
		Output()
	if err != nil {
		return Registries{}, fmt.Errorf("finding the files of Gitea: %w", err)
	}
	return Registries{
		Distribution2: filepath.Join(dir, "distribution2"),
		Gitea:         filepath.Join(dir, "gitea"),
		GiteaFiles:    strings.TrimSpace(string(files)),
	}, nil
}
