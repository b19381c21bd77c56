// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Program is a program that was not built here.
type Program struct {
	Path string
	Env  []string // that it needs beside the usual: where its libraries are
}

// Debian returns programs by their names, which are those of their packages: the machine's own, else those of Debian's
// packages, which it downloads into the cache folder and unpacks there, and says so on progress. Nothing is installed,
// and none of the packages' scripts run; it needs no root.
func Debian(ctx context.Context, progress io.Writer, names ...string) (map[string]Program, error) {
	programs := map[string]Program{}
	var missing []string
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil { // where nginx is, and which the PATH of most users lacks
			path, err = exec.LookPath(filepath.Join("/usr/sbin", name))
		}
		if err != nil {
			missing = append(missing, name)
			continue
		}
		programs[name] = Program{Path: path}
	}
	if len(missing) == 0 {
		return programs, nil
	}
	dir, err := unpack(ctx, progress, missing)
	if err != nil {
		return nil, fmt.Errorf("this machine has no %s: install the packages of that name, which can't be fetched from Debian here: %w",
			strings.Join(missing, " and no "), err)
	}
	for _, name := range missing {
		if programs[name], err = unpackedProgram(dir, name); err != nil {
			return nil, err
		}
	}
	return programs, nil
}

// unpackedProgram finds a program in a folder, and the libraries there.
func unpackedProgram(dir, name string) (Program, error) {
	for _, at := range []string{"usr/bin", "usr/sbin"} {
		path := filepath.Join(dir, at, name)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		libs, err := libraryPath(dir)
		return Program{Path: path, Env: []string{libs}}, err
	}
	return Program{}, fmt.Errorf("the package %s has no program of its name", name)
}

// libraryPath tells the loader of a folder's libraries, by a variable of the environment.
func libraryPath(dir string) (string, error) {
	var libs []string
	for _, pattern := range []string{"usr/lib/*-linux-*", "lib/*-linux-*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return "", err
		}
		libs = append(libs, found...)
	}
	return "LD_LIBRARY_PATH=" + strings.Join(libs, ":"), nil
}

// ErrNotDebian tells that a machine lacks Debian's tools.
var ErrNotDebian = errors.New("this is no Debian")

// DebianFiles returns the folder of Debian's packages, unpacked in the cache folder, whatever the machine itself has of
// them, and the variables that their programs need, but for PATH. What scripts of the packages would do is not done.
func DebianFiles(ctx context.Context, progress io.Writer, names ...string) (dir string, env []string, err error) {
	if dir, err = unpack(ctx, progress, names); err != nil {
		return "", nil, fmt.Errorf("fetching Debian's packages %s: %w", strings.Join(names, ", "), err)
	}
	libs, err := libraryPath(dir)
	return dir, []string{libs}, err
}

// unpack returns the folder with the files of packages, and of the libraries that they need.
func unpack(ctx context.Context, progress io.Writer, names []string) (dir string, err error) {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%w: there is no %s here", ErrNotDebian, tool)
		}
	}
	parent, unlock, err := folder(ctx, "debian")
	if err != nil {
		return "", err
	}
	defer unlock()
	a := &apt{}
	packages, err := a.find(ctx, parent, names)
	if err != nil {
		return "", err
	}
	var key []string
	for _, p := range packages {
		key = append(key, p.name+"_"+p.version+"_"+p.architecture)
	}
	dir = filepath.Join(parent, strings.Join(key, "_"))
	if _, err := os.Stat(dir); err == nil {
		now := time.Now()
		return dir, os.Chtimes(dir, now, now)
	}
	prune(parent)
	fmt.Fprintf(progress, "downloading Debian's packages %s into %s (once)\n", strings.Join(names, ", "), dir)
	return dir, a.unpack(ctx, dir, packages)
}

// apt calls Debian's tools.
type apt struct {
	options []string
}

// find finds what the machine knows of packages. Where it has no lists, as in a container image, they are fetched into
// parent: that needs no root.
func (a *apt) find(ctx context.Context, parent string, names []string) ([]debianPackage, error) {
	packages, err := a.show(ctx, names)
	if err == nil {
		return packages, nil
	}
	lists := filepath.Join(parent, "lists")
	if err := os.MkdirAll(filepath.Join(lists, "partial"), 0o755); err != nil {
		return nil, err
	}
	// Sandboxed, apt drops root for a user who can't read a home folder.
	a.options = []string{"-o", "Dir::State::Lists=" + lists, "-o", "Dir::Cache=" + lists, "-o", "APT::Sandbox::User=root"}
	if _, err := a.run(ctx, parent, "apt-get", "update", "--quiet"); err != nil {
		return nil, err
	}
	return a.show(ctx, names)
}

// unpack unpacks beside dir and then renames, so that dir is whole or missing.
func (a *apt) unpack(ctx context.Context, dir string, packages []debianPackage) error {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "downloading-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	args := []string{"download", "--quiet"}
	for _, p := range packages {
		args = append(args, p.name+"="+p.version)
		args = append(args, p.libraries()...)
	}
	if _, err := a.run(ctx, tmp, "apt-get", args...); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil {
		return err
	}
	root := filepath.Join(tmp, "root")
	for _, archive := range archives {
		if _, err := a.run(ctx, tmp, "dpkg-deb", "--extract", archive, root); err != nil {
			return err
		}
	}
	return os.Rename(root, dir)
}

// run runs one of apt's tools, whose error has what it said.
func (a *apt) run(ctx context.Context, dir, tool string, args ...string) ([]byte, error) {
	if strings.HasPrefix(tool, "apt-") {
		args = slices.Concat(a.options, args)
	}
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", tool, err, stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

func (a *apt) show(ctx context.Context, names []string) ([]debianPackage, error) {
	out, err := a.run(ctx, "", "apt-cache", append([]string{"show", "--no-all-versions"}, names...)...)
	if err != nil {
		return nil, err
	}
	packages := parsePackages(out)
	for _, name := range names {
		if !slices.ContainsFunc(packages, func(p debianPackage) bool { return p.name == name }) {
			return nil, errors.New("no package " + name + " is known here")
		}
	}
	return packages, nil
}

// debianPackage is what counts of a package's description.
type debianPackage struct{ name, version, architecture, depends string }

// parsePackages reads descriptions: fields, one a line, and a blank line after each package.
func parsePackages(text []byte) []debianPackage {
	var packages []debianPackage
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		if field == "Package" {
			packages = append(packages, debianPackage{name: value})
			continue
		}
		if len(packages) == 0 {
			continue
		}
		switch p := &packages[len(packages)-1]; field {
		case "Version":
			p.version = value
		case "Architecture":
			p.architecture = value
		case "Depends":
			p.depends = value
		}
	}
	return packages
}

// libraries are the packages of libraries that it needs, but for the C library, which goes with the machine's loader.
func (p debianPackage) libraries() []string {
	var libs []string
	for dependency := range strings.SplitSeq(p.depends, ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(dependency), " ")
		if (strings.HasPrefix(name, "lib") || strings.HasPrefix(name, "zlib")) && name != "libc6" && !slices.Contains(libs, name) {
			libs = append(libs, name)
		}
	}
	return libs
}
