// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
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
		if code := run(t.Context(), strings.Fields(tt.args), io.Discard, &stderr); code != 2 || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("run(%q) = %d, %q, want 2, %q", tt.args, code, stderr.String(), tt.want)
		}
	}
	if code := run(t.Context(), []string{"--help"}, io.Discard, io.Discard); code != 0 {
		t.Errorf("run(--help) = %d, want 0", code)
	}
}

// TestSource reads git where nothing is given: the revision only of what is committed whole.
func TestSource(t *testing.T) {
	r := newRepository(t)
	for _, tt := range []struct {
		name, revision, epoch string
		change                func() error
		want                  string
	}{
		{"clean", "", "", nil, r.commit + " " + commitDay},
		{"given", "abc", "1", nil, "abc 1970-01-01T00:00:01Z"},
		{"bad time", "", "now", nil, "error"},
		{"changed", "", "", func() error { return os.WriteFile("new", nil, 0o600) }, " " + commitDay},
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
			got := s.revision + " " + day(s.created)
			if err != nil {
				got = "error"
			}
			if got != tt.want {
				t.Errorf("readSource = %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

// TestSave replaces a layout, and the SBOMs of platforms that it no longer has, and touches nothing else.
func TestSave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bin", "image")
	r := small(t)
	attached, err := attach(v1.Descriptor{}, []byte("{}"), "a", source{})
	if err != nil {
		t.Fatal(err)
	}
	r.parts = []part{{platform: v1.Platform{OS: "linux", Architecture: "amd64"}, attached: attached}}
	old := r
	old.parts = append(old.parts, part{platform: v1.Platform{OS: "linux", Architecture: "arm64"}, attached: attached})
	for _, one := range []release{old, r} {
		if err := one.save(dir); err != nil {
			t.Fatal(err)
		}
	}
	found, err := filepath.Glob(filepath.Dir(dir) + "/*")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{dir, dir + ".linux-amd64.cdx.json"}; strings.Join(found, " ") != strings.Join(want, " ") {
		t.Errorf("files = %s, want %s", found, want)
	}
	other := t.TempDir()
	mine := filepath.Join(other, "mine")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.save(other); err == nil {
		t.Error("save replaced another folder, want an error")
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

// TestDockerfile compares the two ways to make the image.
func TestDockerfile(t *testing.T) {
	docker, makefile := read(t, "Dockerfile"), read(t, "Makefile")
	line := regexp.MustCompile(`(?m)^BUILD +:= (.*)$`).FindStringSubmatch(makefile)
	if line == nil {
		t.Fatal("the Makefile has no BUILD")
	}
	want := strings.ReplaceAll(line[1], "$(VERSION)", "$VERSION")
	want = "RUN " + strings.Replace(want, " go build ", " GOOS=$TARGETOS GOARCH=$TARGETARCH go build ", 1) + " -o /out/ ./cmd/..."
	docker = regexp.MustCompile(`\\\n *`).ReplaceAllString(docker, "")
	for _, want := range []string{
		want,
		"COPY --from=build /out/" + strings.Join(programs[:], " /out/") + " /" + binDir,
		"USER " + user,
		`ENTRYPOINT ["` + entrypoint + `"]`,
	} {
		if !strings.Contains(docker, "\n"+want+"\n") {
			t.Errorf("the Dockerfile has no line %q", want)
		}
	}
	if !strings.Contains(makefile, "\n\t$(BUILD) -o $(BIN)/ ./cmd/...\n") {
		t.Error("make build builds otherwise")
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(here, "../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
