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

// source describes the source files that the image is built from.
type source struct {
	version  string
	revision string // the commit; empty if the files differ from the commit
	created  time.Time
}

// createdAnnotation returns the annotation for the time of creation.
func (s source) createdAnnotation() map[string]string {
	return map[string]string{"org.opencontainers.image.created": timestamp(s.created)}
}

// readSource returns the source in the working directory. If revision or epoch is empty, it takes
// it from git. Without git, the revision is empty and the time is the Unix epoch.
func readSource(ctx context.Context, version, revision, epoch string) (source, error) {
	s := source{version: version, revision: revision, created: time.Unix(0, 0)}
	if revision == "" {
		s.revision = git(ctx, "rev-parse", "HEAD")
		if s.revision != "" && git(ctx, "status", "--porcelain") != "" {
			s.revision = ""
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

// git runs git and returns its output. If git fails, the output is empty. For example, the files of
// an archive are in no repository.
func git(ctx context.Context, args ...string) string {
	out, err := exec.CommandContext(ctx, "git", args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// binary is a program that was built.
type binary struct {
	name    string
	content []byte
}

// programs are the names of the binaries in the image.
var programs = [...]string{"tagpin", "tagpin-webhook"}

// build builds the binaries with make, because the flags are in the Makefile.
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
	// The binaries must not depend on the environment: neither on the flags of a make that runs this
	// program, nor on settings of Go.
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=",
		"GOOS="+platform.OS, "GOARCH="+platform.Architecture,
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

// toolchain returns the value of GOTOOLCHAIN. The default is the version of Go in go.mod, because a
// newer version would build different binaries.
func toolchain() (string, error) {
	if named := os.Getenv("GOTOOLCHAIN"); named != "" {
		return named, nil
	}
	text, err := os.ReadFile("go.mod")
	if err != nil {
		return "", fmt.Errorf("the working directory must be the root of the repository: %w", err)
	}
	match := goDirective.FindSubmatch(text)
	if match == nil {
		return "", errors.New("go.mod has no go directive")
	}
	return "go" + string(match[1]), nil
}
