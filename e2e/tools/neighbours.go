// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// Neighbour has the programs of a module in neighbours/programs, which others run beside tagpin.
type Neighbour struct {
	Dir string // has the programs

	module string // the folder of go.mod
}

// BuildNeighbour builds the programs that are tools in the go.mod of neighbours/programs/name. The
// name may have a second part: a module in the folder of another one. Each program is named by the
// last part of its package's path, or by the one before that if the last one is a major version.
// The programs stay in the cache folder like those of [Build].
func BuildNeighbour(ctx context.Context, progress io.Writer, name string) (Neighbour, error) {
	root, err := Module(ctx)
	if err != nil {
		return Neighbour{}, err
	}
	n := Neighbour{module: filepath.Join(root, "neighbours", "programs", filepath.FromSlash(name))}
	packages, err := toolPackages(ctx, n.module)
	if err != nil {
		return Neighbour{}, err
	}
	kind := "neighbour-" + strings.ReplaceAll(name, "/", "-")
	n.Dir, err = buildCached(ctx, progress, kind, n.module, "-s -w", packages)
	return n, err
}

// BuildNeighbours builds the programs of all modules in neighbours/programs.
func BuildNeighbours(ctx context.Context, progress io.Writer) error {
	root, err := Module(ctx)
	if err != nil {
		return err
	}
	programs := os.DirFS(filepath.Join(root, "neighbours", "programs"))
	var files []string
	for _, pattern := range []string{"*/go.mod", "*/*/go.mod"} {
		found, e := fs.Glob(programs, pattern)
		files, err = append(files, found...), errors.Join(err, e)
	}
	if err == nil && len(files) == 0 {
		err = errors.New("there is no module in neighbours/programs")
	}
	for _, file := range files {
		_, e := BuildNeighbour(ctx, progress, path.Dir(file))
		err = errors.Join(err, e)
	}
	return err
}

// Source downloads a module that the programs are built from, if Go's module cache lacks it, and
// returns its folder and its version.
func (n Neighbour) Source(ctx context.Context, module string) (dir, version string, err error) {
	var found struct{ Dir, Version string }
	err = goJSON(ctx, n.module, &found, "mod", "download", "-json", module)
	return found.Dir, found.Version, err
}

// toolPackages returns the packages of the tools in a module's go.mod by the names of the programs.
// The path of a package that is in the module itself begins with a dot.
func toolPackages(ctx context.Context, dir string) (map[string]string, error) {
	var mod struct {
		Module struct{ Path string }
		Tool   []struct{ Path string }
	}
	if err := goJSON(ctx, dir, &mod, "mod", "edit", "-json"); err != nil {
		return nil, err
	}
	if len(mod.Tool) == 0 {
		return nil, fmt.Errorf("the go.mod in %s has no tool", dir)
	}
	packages := map[string]string{}
	for _, t := range mod.Tool {
		own, found := strings.CutPrefix(t.Path, mod.Module.Path+"/")
		if found {
			own = "./" + own
		}
		packages[programName(t.Path)] = own
	}
	return packages, nil
}

// majorVersion matches the last part of the path of a package with a major version.
var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// programName returns the name that go install gives a program.
func programName(packagePath string) string {
	dir, name := path.Split(packagePath)
	if majorVersion.MatchString(name) {
		return path.Base(dir)
	}
	return name
}

// goJSON runs the go command in a folder and decodes its output.
func goJSON(ctx context.Context, dir string, v any, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		exit := new(exec.ExitError)
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s%s", err, out, exit.Stderr)
		}
		return fmt.Errorf("go %s in %s: %w", strings.Join(args, " "), dir, err)
	}
	return json.Unmarshal(out, v)
}
