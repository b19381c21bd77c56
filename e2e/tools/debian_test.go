// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePackages(t *testing.T) {
	const text = `Package: docker-registry
Version: 2.8.2+ds1-1
Architecture: amd64
Depends: adduser, lsb-base, libc6 (>= 2.34)
Description-en: Docker toolset: to pack, ship
 Package: this is not a field

Package: nginx
Version: 1.22.1-9
Architecture: amd64
Depends: libc6 (>= 2.34), libssl3 (>= 3.0.0), zlib1g (>= 1:1.1.4), iproute2, nginx-common (<< 1.22.1-9.1~), nginx-common (>= 1.22.1-9)

`
	packages := parsePackages([]byte(text))
	var got [][]string
	for _, p := range packages {
		got = append(got, append([]string{p.name, p.version, p.architecture}, p.libraries()...))
	}
	want := [][]string{{"docker-registry", "2.8.2+ds1-1", "amd64"}, {"nginx", "1.22.1-9", "amd64", "libssl3", "zlib1g"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parsePackages, -want +got:\n%s", diff)
	}
}

// TestFolderName checks that LD_LIBRARY_PATH can have the folder of a version with an epoch.
func TestFolderName(t *testing.T) {
	got := folderName([]debianPackage{
		{name: "redis-server", version: "5:7.0.15-1", architecture: "amd64"},
		{name: "redis-tools", version: "5:7.0.15-1", architecture: "amd64"},
	})
	const want = "redis-server_5%3a7.0.15-1_amd64_redis-tools_5%3a7.0.15-1_amd64"
	if got != want {
		t.Errorf("folderName = %s, want %s", got, want)
	}
}

// TestDebianOnThePath prefers the machine's own program.
func TestDebianOnThePath(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "docker-registry")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	got, err := Debian(t.Context(), io.Discard, "docker-registry")
	if err != nil || got.Path != program {
		t.Errorf("Debian = %v, %v, want %s", got, err, program)
	}
}

// TestDebianWithoutApt checks that the error says what to install.
func TestDebianWithoutApt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Debian(t.Context(), io.Discard, "docker-registry")
	if err == nil {
		t.Fatal("Debian found a program in an empty PATH")
	}
	for _, want := range []string{"docker-registry", "install", "apt-get"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error %q does not say %s", err, want)
		}
	}
}

// TestDebianFilesElsewhere checks that a machine without apt can be told from other failures.
func TestDebianFilesElsewhere(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, _, err := DebianFiles(t.Context(), io.Discard, "containerd"); !errors.Is(err, ErrNotDebian) {
		t.Errorf("DebianFiles = %v, want %v", err, ErrNotDebian)
	}
}
