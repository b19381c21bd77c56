// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Source is a Go module with files that are needed although they are not Go, such as CRDs. Nothing
// of the module is compiled.
type Source struct {
	Path, Version string
	Sum           string // as in go.sum
	Files         []string
}

// Download downloads the module into Go's module cache, and returns the paths of Files there.
func (s Source) Download(ctx context.Context) (paths []string, err error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", s.Path+"@"+s.Version)
	cmd.Dir = os.TempDir() // outside of any module, whose go.mod could select another version
	out, err := cmd.Output()
	if err != nil {
		exit := new(exec.ExitError)
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s%s", err, out, exit.Stderr)
		}
		return nil, fmt.Errorf("downloading %s@%s: %w", s.Path, s.Version, err)
	}
	var got struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &got); err != nil {
		return nil, err
	}
	if got.Sum != s.Sum {
		return nil, fmt.Errorf("%s@%s is %s, want %s", s.Path, s.Version, got.Sum, s.Sum)
	}
	for _, name := range s.Files {
		paths = append(paths, filepath.Join(got.Dir, filepath.FromSlash(name)))
	}
	return paths, nil
}
