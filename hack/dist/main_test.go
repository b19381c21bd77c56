// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/kubectl/pkg/cmd"
)

// TestMain lets the test binary be kubectl, whose plugins the tests run.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kubectl": kubectl})
}

// kubectl is what k8s.io/kubernetes/cmd/kubectl does.
func kubectl() {
	if err := cmd.NewDefaultKubectlCommand().Execute(); err != nil {
		os.Exit(1)
	}
}

// build builds the binary of a platform as make dist does.
func build(t *testing.T, binaries, system, arch string) {
	t.Helper()
	name := filepath.Join(binaries, system+"_"+arch) + string(filepath.Separator)
	c := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.version=v1.2.3", "-o", name, "./cmd/tagpin")
	c.Dir = "../.."
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch, "GOFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s/%s: %v\n%s", system, arch, err, out)
	}
}

// fake writes binaries that are only text.
func fake(t *testing.T, binaries string, platforms ...string) {
	t.Helper()
	for _, platform := range platforms {
		binary := "tagpin"
		if strings.HasPrefix(platform, "windows") {
			binary = "tagpin.exe"
		}
		if err := os.MkdirAll(filepath.Join(binaries, platform), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(binaries, platform, binary), []byte("binary"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

var platforms = []string{
	"linux_amd64", "linux_arm64", "darwin_amd64", "darwin_arm64", "windows_amd64", "windows_arm64",
}

// pack packs the binaries and returns the folder.
func pack(t *testing.T, version, binaries string) string {
	t.Helper()
	t.Chdir("../..")
	output := t.TempDir()
	var stderr bytes.Buffer
	if code := run([]string{"--version", version, "--binaries", binaries, "--output", output}, &stderr); code != 0 {
		t.Fatalf("run = %d: %s", code, stderr.Bytes())
	}
	return output
}

// TestInstall installs the plugin with krew from the archive, and runs it with kubectl.
func TestInstall(t *testing.T) {
	binaries := t.TempDir()
	platform := runtime.GOOS + "_" + runtime.GOARCH
	for _, other := range platforms {
		if other != platform {
			fake(t, binaries, other)
		}
	}
	build(t, binaries, runtime.GOOS, runtime.GOARCH)
	tools := buildTools(t)
	output := pack(t, "v1.2.3", binaries)

	out, err := command(t, filepath.Join(tools, "validate-krew-manifest"),
		"-manifest", filepath.Join(output, "tagpin.yaml"), "-skip-install").CombinedOutput()
	if err != nil {
		t.Fatalf("krew refuses the manifest: %v\n%s", err, out)
	}
	root := t.TempDir()
	t.Setenv("KREW_ROOT", root)
	t.Setenv("HOME", root)
	t.Setenv("PATH", filepath.Join(root, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err = command(t, filepath.Join(tools, "krew"), "install",
		"--manifest="+filepath.Join(output, "tagpin.yaml"),
		"--archive="+filepath.Join(output, "tagpin_"+platform+".tar.gz")).CombinedOutput()
	if err != nil {
		t.Fatalf("krew install: %v\n%s", err, out)
	}
	out, err = command(t, "kubectl", "tagpin", "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "tagpin v1.2.3 go") {
		t.Errorf("kubectl tagpin version = %v, %q, want v1.2.3", err, out)
	}
	out, err = command(t, "kubectl", "tagpin", "pin", "--help").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\n  kubectl tagpin pin [FILE") {
		t.Errorf("kubectl tagpin pin --help = %v, %q, want kubectl in its usage", err, out)
	}
	// This script is in deploy/docs/ci.md.
	script := "#!/bin/sh\nexec kubectl tagpin __complete \"$@\"\n"
	if page := read(t, "deploy/docs", "ci.md"); !strings.Contains(page, "```text\n"+script+"```\n") {
		t.Errorf("deploy/docs/ci.md does not have the script %q", script)
	}
	if err := os.WriteFile(filepath.Join(root, "bin", "kubectl_complete-tagpin"), []byte(script), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	out, err = command(t, "kubectl", "__complete", "tagpin", "config", "").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "validate\tCheck a config file") {
		t.Errorf("kubectl's completion of tagpin config = %v, %q, want validate", err, out)
	}
}

func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), name, args...)
}

// buildTools builds krew and its check of manifests, and returns their folder.
func buildTools(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := command(t, "go", "build", "-o", dir+string(filepath.Separator),
		"sigs.k8s.io/krew/cmd/krew", "sigs.k8s.io/krew/cmd/validate-krew-manifest").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// TestPlatforms builds the binary for systems that no other test uses.
func TestPlatforms(t *testing.T) {
	for _, system := range []string{"darwin", "windows"} {
		build(t, t.TempDir(), system, "arm64")
	}
}

// TestArchives checks the files in the archives, and that packing again gives the same bytes.
func TestArchives(t *testing.T) {
	binaries := t.TempDir()
	fake(t, binaries, platforms...)
	output := pack(t, "abc", binaries)
	if _, err := os.Stat(filepath.Join(output, "tagpin.yaml")); err == nil {
		t.Error("a version that is no release has a manifest for krew, want none")
	}
	sums := read(t, output, "checksums.txt")
	if n := strings.Count(sums, "\n"); n != len(platforms) {
		t.Errorf("checksums.txt has %d lines, want %d:\n%s", n, len(platforms), sums)
	}
	check := command(t, "sha256sum", "--check", "--strict", "checksums.txt")
	check.Dir = output
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("sha256sum --check: %v\n%s", err, out)
	}
	var again bytes.Buffer
	s := settings{version: "abc", binaries: binaries, output: t.TempDir()}
	if err := s.pack(&again); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s.output, "checksums.txt"); got != sums {
		t.Errorf("checksums of the same binaries = %s, want %s", got, sums)
	}
	compressed, err := gzip.NewReader(strings.NewReader(read(t, output, "tagpin_linux_arm64.tar.gz")))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for archive := tar.NewReader(compressed); ; {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.FileInfo().Mode().String()+" "+header.Name)
	}
	if got := strings.Join(names, ", "); got != "-rw-r--r-- LICENSE, -rwxr-xr-x tagpin" {
		t.Errorf("the archive for Linux has %s", got)
	}
	windows, err := zip.OpenReader(filepath.Join(output, "tagpin_windows_amd64.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = windows.Close() }()
	if len(windows.File) != 2 || windows.File[1].Name != "tagpin.exe" {
		t.Errorf("the archive for Windows has %v, want LICENSE and tagpin.exe", windows.File)
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
