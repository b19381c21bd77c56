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
)

// Program is a program that was not built here.
type Program struct {
	Path string
	Env  []string // variables that it needs in addition, such as the path of its libraries
}

// Debian returns a program by its name, which is also the name of its package. If the machine lacks
// the program, Debian downloads the package, others that it needs, and those of their libraries. It
// reports that to progress, and unpacks them in the cache folder. It installs nothing, runs no
// script of a package, and needs no root.
func Debian(
	ctx context.Context, progress io.Writer, name string, others ...string,
) (Program, error) {
	if path, err := exec.LookPath(name); err == nil {
		return Program{Path: path}, nil
	}
	dir, err := unpack(ctx, progress, append(others, name))
	if err != nil {
		return Program{}, fmt.Errorf("this machine has no %s: install the package of that name, "+
			"which can't be fetched from Debian here: %w", name, err)
	}
	path := filepath.Join(dir, "usr/bin", name)
	if _, err := os.Stat(path); err != nil {
		return Program{}, fmt.Errorf("the package %s has no program of its name: %w", name, err)
	}
	libs, err := libraryPath(dir)
	return Program{Path: path, Env: []string{libs}}, err
}

// libraryPath returns the environment variable that makes the loader find the libraries in a
// folder.
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

// ErrNotDebian means that the machine lacks Debian's tools.
var ErrNotDebian = errors.New("this is not Debian")

// DebianFiles unpacks packages of Debian in the cache folder, even if the machine has them. It
// returns the folder and the variables that the programs need besides PATH. The scripts of the
// packages are not run.
func DebianFiles(ctx context.Context, progress io.Writer, names ...string) (
	dir string, env []string, err error,
) {
	if dir, err = unpack(ctx, progress, names); err != nil {
		return "", nil, fmt.Errorf("fetching Debian's packages %s: %w", strings.Join(names, ", "), err)
	}
	libs, err := libraryPath(dir)
	return dir, []string{libs}, err
}

// NodeFiles unpacks the packages with the programs of a node: containerd, runc, the CNI plugins and
// iptables.
func NodeFiles(ctx context.Context, progress io.Writer) (dir string, env []string, err error) {
	return DebianFiles(ctx, progress, "containerd", "runc", "containernetworking-plugins", "iptables")
}

// unpack returns the folder with the files of packages and of the libraries that they need.
func unpack(ctx context.Context, progress io.Writer, names []string) (dir string, err error) {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%w: there is no %s here", ErrNotDebian, tool)
		}
	}
	parent, err := folder("debian")
	if err != nil {
		return "", err
	}
	unlock, err := lock(ctx, progress, parent)
	if err != nil {
		return "", err
	}
	defer unlock()
	a := &apt{}
	packages, err := a.find(ctx, parent, names)
	if err != nil {
		return "", err
	}
	return cached(parent, folderName(packages), func(dir string) error {
		fmt.Fprintf(progress, "downloading Debian's packages %s into %s (once)\n",
			strings.Join(names, ", "), parent)
		return a.unpack(ctx, dir, packages)
	})
}

// folderName returns the name of the folder for packages. As in the names of Debian's files, a
// version has no colon, which would end the folder's name in LD_LIBRARY_PATH.
func folderName(packages []debianPackage) string {
	var names []string
	for _, p := range packages {
		names = append(names, p.name+"_"+p.version+"_"+p.architecture)
	}
	return strings.ReplaceAll(strings.Join(names, "_"), ":", "%3a")
}

// apt calls Debian's tools.
type apt struct {
	options []string
}

// find returns what the machine knows of packages. If it has no package lists, as in a container
// image, find downloads them into parent, which needs no root.
func (a *apt) find(ctx context.Context, parent string, names []string) ([]debianPackage, error) {
	packages, err := a.show(ctx, names)
	if err == nil {
		return packages, nil
	}
	lists := filepath.Join(parent, "lists")
	if err := os.MkdirAll(filepath.Join(lists, "partial"), 0o755); err != nil {
		return nil, err
	}
	// In its sandbox apt would run as a user who can't read a home folder.
	a.options = []string{
		"-o", "Dir::State::Lists=" + lists, "-o", "Dir::Cache=" + lists, "-o", "APT::Sandbox::User=root",
	}
	if _, err := a.run(ctx, parent, "apt-get", "update", "--quiet"); err != nil {
		return nil, err
	}
	return a.show(ctx, names)
}

// unpack downloads packages and the libraries that they need, and unpacks them in dir.
func (a *apt) unpack(ctx context.Context, dir string, packages []debianPackage) error {
	args := []string{"download", "--quiet"}
	for _, p := range packages {
		args = append(args, p.name+"="+p.version)
		args = append(args, p.libraries()...)
	}
	if _, err := a.run(ctx, dir, "apt-get", args...); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return err
	}
	for _, archive := range archives {
		if _, err := a.run(ctx, dir, "dpkg-deb", "--extract", archive, dir); err != nil {
			return err
		}
		if err := os.Remove(archive); err != nil {
			return err
		}
	}
	return nil
}

// run runs one of the tools. The error of a failure includes what the tool wrote to stderr.
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
	args := append([]string{"show", "--no-all-versions"}, names...)
	out, err := a.run(ctx, "", "apt-cache", args...)
	if err != nil {
		return nil, err
	}
	packages := parsePackages(out)
	for _, name := range names {
		if !slices.ContainsFunc(packages, func(p debianPackage) bool { return p.name == name }) {
			return nil, errors.New("apt knows no package " + name)
		}
	}
	return packages, nil
}

// debianPackage holds some fields of a package's description.
type debianPackage struct{ name, version, architecture, depends string }

// parsePackages parses descriptions. Each has one field a line and ends with a blank line.
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

// libraries returns the library packages that p needs. The C library is left out, because it must
// match the machine's loader.
func (p debianPackage) libraries() []string {
	var libs []string
	for dependency := range strings.SplitSeq(p.depends, ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(dependency), " ")
		library := strings.HasPrefix(name, "lib") || strings.HasPrefix(name, "zlib")
		if library && name != "libc6" && !slices.Contains(libs, name) {
			libs = append(libs, name)
		}
	}
	return libs
}
