// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// source is what the image says of where it comes from.
type source struct {
	version  string
	revision string // "" where the files are those of no commit
	created  time.Time
}

// readSource asks git, in the folder it runs in, for what is not given. Without git the time is the epoch's.
func readSource(ctx context.Context, version, revision, epoch string) (source, error) {
	s := source{version: version, revision: revision, created: time.Unix(0, 0)}
	if revision == "" {
		s.revision = git(ctx, "rev-parse", "HEAD")
		if s.revision != "" && git(ctx, "status", "--porcelain") != "" {
			s.revision = "" // who checks it out has other files
		}
	}
	if epoch == "" { // https://reproducible-builds.org/specs/source-date-epoch
		epoch = git(ctx, "log", "-1", "--format=%ct")
	}
	if epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return s, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
		}
		s.created = time.Unix(seconds, 0)
	}
	return s, nil
}

// git gives what git prints, and nothing where it fails: an unpacked archive has no git.
func git(ctx context.Context, args ...string) string {
	out, err := exec.CommandContext(ctx, "git", args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// binary is a program as it was built.
type binary struct {
	name    string
	content []byte
}

// programs are the binaries of the image.
var programs = [...]string{"tagpin", "tagpin-webhook"}

// build has make build the binaries: the Makefile alone knows with which flags.
func build(ctx context.Context, platform v1.Platform, version string) ([]binary, error) {
	dir, err := os.MkdirTemp("", "tagpin-image-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	toolchain, err := toolchain()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "make", "--silent", "build", "BIN="+dir, "VERSION="+version)
	// A make above has flags of its own; a machine's favourite instruction set would make other binaries.
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=", "GOOS="+platform.OS, "GOARCH="+platform.Architecture,
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFLAGS=", "GOTOOLCHAIN="+toolchain)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make build: %w\n%s", err, bytes.TrimSpace(out))
	}
	var built []binary
	for _, name := range programs {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		built = append(built, binary{name, content})
	}
	return built, nil
}

var goDirective = regexp.MustCompile(`(?m)^go (\S+)$`)

// toolchain is the Go that go.mod names, and no newer one, which would make other binaries, unless the environment names one.
func toolchain() (string, error) {
	if named := os.Getenv("GOTOOLCHAIN"); named != "" {
		return named, nil
	}
	text, err := os.ReadFile("go.mod")
	if err != nil {
		return "", fmt.Errorf("this is not the repository's root: %w", err)
	}
	match := goDirective.FindSubmatch(text)
	if match == nil {
		return "", errors.New("go.mod has no go directive")
	}
	return "go" + string(match[1]), nil
}
