// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// TestImage builds the image and tests it in all subtests, because a build takes long.
func TestImage(t *testing.T) {
	r := newRepository(t)
	withReferrers := newRegistry(t, true) + "/tagpin-webhook"
	withoutReferrers := newRegistry(t, false) + "/team/tagpin-webhook"
	output := filepath.Join(t.TempDir(), "image")
	t.Chdir(r.dir)
	digest := mustRun(t, "--version", version, "--output", output,
		"--push", withReferrers+":v1", "--push", withoutReferrers+":v1")
	b := built{output, digest, open(t, output, digest)}
	t.Run("index", b.testIndex)
	for _, arch := range []string{"amd64", "arm64"} {
		img := b.image(t, arch)
		t.Run(arch, func(t *testing.T) {
			testConfig(t, img, arch, r.commit)
			testFiles(t, img)
			b.testSBOM(t, img, arch)
		})
	}
	t.Run("runs", func(t *testing.T) { testRuns(t, b.image(t, runtime.GOARCH)) })
	t.Run("pushed", func(t *testing.T) {
		b.testPushed(t, withReferrers)
		b.testPushed(t, withoutReferrers)
	})
	// The commands in the docs build the same image again, in another clone.
	t.Run("docs", func(t *testing.T) { testDocs(t, r, digest) })
}

// mustRun runs the command and returns its output.
func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), args, &stdout, &stderr); code != 0 {
		t.Fatalf("run(%q) = %d, want 0: %s", args, code, stderr.Bytes())
	}
	return strings.TrimSpace(stdout.String())
}

// built is an image that was built and saved.
type built struct {
	dir    string
	digest string
	index  v1.ImageIndex
}

// open reads the index with the given digest from a layout.
func open(t *testing.T, dir, digest string) v1.ImageIndex {
	t.Helper()
	h, err := v1.NewHash(digest)
	if err != nil {
		t.Fatal(err)
	}
	all, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	index, err := all.ImageIndex(h)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func (b built) image(t *testing.T, arch string) v1.Image {
	t.Helper()
	platform := v1.Platform{OS: "linux", Architecture: arch}
	images, err := partial.FindImages(b.index, match.Platforms(platform))
	if err != nil || len(images) != 1 {
		t.Fatalf("images for %s: %d, want 1 (%v)", arch, len(images), err)
	}
	return images[0]
}

func (b built) testIndex(t *testing.T) {
	if err := validate.Index(b.index); err != nil {
		t.Error(err)
	}
	m, err := b.index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Annotations["org.opencontainers.image.version"]; got != version {
		t.Errorf("version = %q, want %q", got, version)
	}
	if len(m.Manifests) != 2 {
		t.Errorf("images = %d, want 2", len(m.Manifests))
	}
}

func testConfig(t *testing.T, img v1.Image, arch, commit string) {
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{
		User: "65532:65532", Entrypoint: []string{"/usr/local/bin/tagpin-webhook"},
		Env: []string{"PATH=/usr/local/bin"},
		Labels: map[string]string{
			"org.opencontainers.image.title":       title,
			"org.opencontainers.image.description": description,
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.source":      "https://github.com/tagpin/tagpin",
			"org.opencontainers.image.url":         "https://github.com/tagpin/tagpin",
			"org.opencontainers.image.version":     version,
			"org.opencontainers.image.revision":    commit,
			"org.opencontainers.image.created":     commitTime,
		},
	}
	if diff := cmp.Diff(want, config.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	got := config.OS + "/" + config.Architecture + " " + timestamp(config.Created.Time)
	if want := "linux/" + arch + " " + commitTime; got != want {
		t.Errorf("platform and time = %s, want %s", got, want)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Labels, m.Annotations); diff != "" {
		t.Errorf("annotations (-labels +annotations):\n%s", diff)
	}
}

// eachFile calls f with each file of an image, in order.
func eachFile(t *testing.T, img v1.Image, f func(h *tar.Header, content []byte)) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		plain, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		for r := tar.NewReader(plain); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			f(h, content)
		}
		if err := plain.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func testFiles(t *testing.T, img v1.Image) {
	var got []string
	eachFile(t, img, func(h *tar.Header, content []byte) {
		got = append(got, fmt.Sprintf("%s %o %d:%d", h.Name, h.Mode, h.Uid, h.Gid))
		if h.ModTime.Unix() != 0 || h.Uname != "" || h.Gname != "" {
			t.Errorf("%s has a time or names of users: %s %q %q",
				h.Name, h.ModTime, h.Uname, h.Gname)
		}
		if h.Name == certificates {
			testCertificates(t, content)
		}
	})
	want := []string{
		"etc/ 755 0:0", "etc/group 644 0:0", "etc/passwd 644 0:0",
		"etc/ssl/ 755 0:0", "etc/ssl/certs/ 755 0:0", "etc/ssl/certs/ca-certificates.crt 644 0:0",
		"home/ 755 0:0", "home/nonroot/ 700 65532:65532", "root/ 700 0:0", "tmp/ 1777 0:0",
		"usr/ 755 0:0", "usr/local/ 755 0:0", "usr/local/bin/ 755 0:0",
		"usr/local/bin/tagpin 755 0:0", "usr/local/bin/tagpin-webhook 755 0:0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// testCertificates checks that the CA certificates of some registries are there.
func testCertificates(t *testing.T, content []byte) {
	var names []string
	for {
		block, rest := pem.Decode(content)
		if block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		names, content = append(names, cert.Subject.CommonName), rest
	}
	for _, want := range []string{
		"Amazon Root CA 1", "DigiCert Global Root G2", "GTS Root R1", "ISRG Root X1",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("none of the %d certificates is %q", len(names), want)
		}
	}
}

// testRuns runs the binaries of an image for this machine's platform.
func testRuns(t *testing.T, img v1.Image) {
	if runtime.GOOS != "linux" {
		t.Skip("the binaries are for Linux")
	}
	dir := t.TempDir()
	eachFile(t, img, func(h *tar.Header, content []byte) {
		if !strings.HasPrefix(h.Name, binDir) || h.Typeflag != tar.TypeReg {
			return
		}
		file := filepath.Join(dir, filepath.Base(h.Name))
		if err := os.WriteFile(file, content, 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), file, "--version").CombinedOutput()
		want := filepath.Base(h.Name) + " " + version + " "
		if err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%s --version = %q, %v, want the prefix %q", h.Name, out, err, want)
		}
	})
}
