// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
)

func TestUsage(t *testing.T) {
	t.Setenv("VERSION", "")
	for _, tt := range []struct{ args, want string }{
		{"", "--version is missing"},
		{"--version v1 more", `unexpected argument "more"`},
		{"--version v1 --platform windows/amd64", "want linux/"},
		{"--version v1 --platform linux", "want linux/"},
		{"--version v1 --platform linux/arm/v7", "want linux/"},
		{"--version v1 --none", "flag provided but not defined"},
	} {
		var stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(tt.args), io.Discard, &stderr)
		if code != 2 || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("run(%q) = %d, %q, want 2, %q", tt.args, code, stderr.String(), tt.want)
		}
	}
	if code := run(t.Context(), []string{"--help"}, io.Discard, io.Discard); code != 0 {
		t.Errorf("run(--help) = %d, want 0", code)
	}
}

// TestSource checks that the revision and the time come from git if they are not given, and that
// there is no revision if the files differ from the commit.
func TestSource(t *testing.T) {
	r := newRepository(t)
	for _, tt := range []struct {
		name, revision, epoch string
		change                func() error
		want                  string
	}{
		{"clean", "", "", nil, r.commit + " " + commitTime},
		{"given", "abc", "1", nil, "abc 1970-01-01T00:00:01Z"},
		{"bad time", "", "now", nil, "error"},
		{"changed", "", "", func() error { return os.WriteFile("new", nil, 0o600) }, " " + commitTime},
		{"no git", "", "", func() error { return os.RemoveAll(".git") }, " 1970-01-01T00:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(r.dir)
			if tt.change != nil {
				if err := tt.change(); err != nil {
					t.Fatal(err)
				}
			}
			s, err := readSource(t.Context(), version, tt.revision, tt.epoch)
			got := s.revision + " " + timestamp(s.created)
			if err != nil {
				got = "error"
			}
			if got != tt.want {
				t.Errorf("readSource(%q, %q) = %q (%v), want %q", tt.revision, tt.epoch, got, err, tt.want)
			}
		})
	}
}

// TestSave checks that save replaces a layout and removes the SBOMs of platforms that are no longer
// built, and that it does not replace a folder without a layout.
func TestSave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bin", "image")
	r := randomRelease(t)
	subject, err := partial.Descriptor(r.index)
	if err != nil {
		t.Fatal(err)
	}
	sbom, err := newArtifact(*subject, []byte("{}"), "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	amd := part{platform: v1.Platform{OS: "linux", Architecture: "amd64"}, artifact: sbom}
	arm := part{platform: v1.Platform{OS: "linux", Architecture: "arm64"}, artifact: sbom}
	for _, parts := range [][]part{{amd, arm}, {amd}} {
		r.parts = parts
		if err := r.save(dir); err != nil {
			t.Fatal(err)
		}
	}
	found, err := filepath.Glob(filepath.Dir(dir) + "/*")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{dir, dir + ".linux-amd64.cdx.json"}; !slices.Equal(found, want) {
		t.Errorf("files = %q, want %q", found, want)
	}
	other := t.TempDir()
	mine := filepath.Join(other, "mine")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.save(other); err == nil {
		t.Error("save replaced a folder without a layout, want an error")
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

// TestDockerfile checks that the Dockerfile builds the same binaries as the Makefile, and that its
// image has the same user and paths.
func TestDockerfile(t *testing.T) {
	docker, makefile := read(t, "Dockerfile"), read(t, "Makefile")
	line := regexp.MustCompile(`(?m)^BUILD +:= (.*)$`).FindStringSubmatch(makefile)
	if line == nil {
		t.Fatal("the Makefile has no variable BUILD")
	}
	const goBuild = " go build "
	build := strings.ReplaceAll(line[1], "$(VERSION)", "$VERSION")
	build = strings.Replace(build, goBuild, " GOOS=$TARGETOS GOARCH=$TARGETARCH"+goBuild, 1)
	docker = regexp.MustCompile(`\\\n *`).ReplaceAllString(docker, "")
	for _, want := range []string{
		"RUN " + build + " -o /out/ ./cmd/...",
		"COPY --from=build /out/" + strings.Join(programs[:], " /out/") + " /" + binDir,
		"USER " + user,
		`ENTRYPOINT ["` + entrypoint + `"]`,
	} {
		if !strings.Contains(docker, "\n"+want+"\n") {
			t.Errorf("the Dockerfile has no line %q", want)
		}
	}
	if !strings.Contains(makefile, "\n\t$(BUILD) -o $(BIN)/ ./cmd/...\n") {
		t.Error("the target build of the Makefile does not use BUILD")
	}
}

// read returns the text of a file of this repository.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(here, "../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
