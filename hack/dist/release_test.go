// SPDX-License-Identifier: Apache-2.0

//go:build release

package dist

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"go.yaml.in/yaml/v3"
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

// release is a release that make release has built in a clone of the repository.
type release struct{ clone, dir string }

// newRelease builds the release v1.2.3 from all files that git does not ignore.
func newRelease(t *testing.T) release {
	t.Helper()
	clone := filepath.Join(t.TempDir(), "clone")
	script := `git -C ../.. ls-files -z --cached --others --exclude-standard | tar -C ../.. -c --null \
	  --ignore-failed-read --files-from=- 2> /dev/null | (mkdir "$CLONE" && tar -x -C "$CLONE")
cd "$CLONE"
git init -q && git remote add origin https://github.com/tagpin/tagpin
git add -A && git commit -q -m a && git tag v1.2.3
make release`
	c := exec.CommandContext(t.Context(), "bash", "-c", "set -e\n"+script)
	c.Env = append(os.Environ(), "CLONE="+clone, "GIT_CONFIG_GLOBAL="+os.DevNull, "MAKEFLAGS=", "MAKELEVEL=",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_AUTHOR_DATE=2026-02-03T04:05:06Z",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_COMMITTER_DATE=2026-02-03T04:05:06Z")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return release{clone, filepath.Join(clone, "bin/release")}
}

// TestRelease builds a release twice, in two folders, and checks its files.
func TestRelease(t *testing.T) {
	r := newRelease(t)
	t.Run("again", func(t *testing.T) { r.testAgain(t, newRelease(t)) })
	t.Run("files", r.testFiles)
	t.Run("archives", r.testArchives)
	t.Run("sboms", r.testSBOMs)
	t.Run("krew", r.testKrew)
}

// testAgain checks that another build of the same commit has the same files.
func (r release) testAgain(t *testing.T, other release) {
	for _, name := range []string{"checksums.txt", "krew/tagpin.yaml"} {
		if diff := cmp.Diff(read(t, r.dir, name), read(t, other.dir, name)); diff != "" {
			t.Errorf("%s differs between two builds (-first +second):\n%s", name, diff)
		}
	}
}

// testFiles checks the checksums, and that they are of all files of the release.
func (r release) testFiles(t *testing.T) {
	want := map[string]bool{"tagpin-1.2.3.tgz": true}
	for _, arch := range []string{"amd64", "arm64"} {
		for _, system := range []string{"linux", "darwin", "windows"} {
			archive := "tagpin_" + system + "_" + arch + ".tar.gz"
			if system == "windows" {
				archive = "tagpin_" + system + "_" + arch + ".zip"
			}
			want[archive], want["tagpin_"+system+"_"+arch+".cdx.json"] = true, true
		}
		want["tagpin-webhook_linux_"+arch+".cdx.json"] = true
	}
	got := map[string]bool{}
	for line := range strings.Lines(read(t, r.dir, "checksums.txt")) {
		got[strings.Fields(line)[1]] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files in checksums.txt (-want +got):\n%s", diff)
	}
	out, err := shell(t, r.dir, "sha256sum --check --strict checksums.txt")
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// testArchives checks the files in the archives, and that the binary is the one that make build
// makes.
func (r release) testArchives(t *testing.T) {
	compressed, err := gzip.NewReader(strings.NewReader(read(t, r.dir, "tagpin_linux_amd64.tar.gz")))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	var binary []byte
	for archive := tar.NewReader(compressed); ; {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.FileInfo().Mode().String()+" "+header.Uname+" "+header.Name)
		if binary, err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(names, ", "); got != "-rw-r--r-- root LICENSE, -rwxr-xr-x root tagpin" {
		t.Errorf("the archive for Linux has %s", got)
	}
	dir := t.TempDir()
	out, err := shell(t, r.clone, "GOOS=linux GOARCH=amd64 make build BIN="+dir+" VERSION=v1.2.3")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if built := read(t, dir, "tagpin"); built != string(binary) {
		t.Error("the binary in the archive is not that of make build")
	}
	windows, err := zip.OpenReader(filepath.Join(r.dir, "tagpin_windows_amd64.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = windows.Close() }()
	if len(windows.File) != 2 || windows.File[1].Name != "tagpin.exe" {
		t.Errorf("the archive for Windows has %v, want LICENSE and tagpin.exe", windows.File)
	}
}

// testSBOMs checks that each SBOM of an archive is that of its binary.
func (r release) testSBOMs(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(r.dir, "tagpin_*.cdx.json"))
	if err != nil || len(names) != 6 {
		t.Fatalf("the SBOMs are %q, %v, want six", names, err)
	}
	for _, name := range names {
		var sbom struct {
			Metadata struct {
				Component struct{ Name, Version, Purl string }
			}
			Components []struct{ Purl string }
		}
		if err := json.Unmarshal([]byte(read(t, "", name)), &sbom); err != nil {
			t.Fatal(err)
		}
		if c := sbom.Metadata.Component; c.Purl != "pkg:golang/github.com/tagpin/tagpin@v1.2.3#cmd/tagpin" ||
			len(sbom.Components) < 10 {
			t.Errorf("%s is about %+v with %d modules", name, c, len(sbom.Components))
		}
	}
}

// testKrew installs the plugin with krew from the archive, and runs it with kubectl.
func (r release) testKrew(t *testing.T) {
	tools := buildTools(t)
	manifest := filepath.Join(r.dir, "krew/tagpin.yaml")
	var m struct {
		Spec struct{ Platforms []struct{ URI string } }
	}
	if err := yaml.Unmarshal([]byte(read(t, "", manifest)), &m); err != nil {
		t.Fatal(err)
	}
	const url = "https://github.com/tagpin/tagpin/releases/download/v1.2.3/tagpin_"
	if p := m.Spec.Platforms; len(p) != 6 || !strings.HasPrefix(p[0].URI, url) {
		t.Errorf("the platforms in the manifest are %v, want six at %s", p, url)
	}
	out, err := command(t, filepath.Join(tools, "validate-krew-manifest"),
		"-manifest", manifest, "-skip-install").CombinedOutput()
	if err != nil {
		t.Fatalf("krew refuses the manifest: %v\n%s", err, out)
	}
	root := t.TempDir()
	t.Setenv("KREW_ROOT", root)
	t.Setenv("HOME", root)
	t.Setenv("PATH", filepath.Join(root, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err = command(t, filepath.Join(tools, "krew"), "install", "--manifest="+manifest, "--archive="+
		filepath.Join(r.dir, "tagpin_"+runtime.GOOS+"_"+runtime.GOARCH+".tar.gz")).CombinedOutput()
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
	if page := read(t, "../../deploy/docs", "ci.md"); !strings.Contains(page, "```text\n"+script+"```\n") {
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
