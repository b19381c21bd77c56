// SPDX-License-Identifier: Apache-2.0

package ref_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/ref"
)

const d256 = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

var d512 = "sha512:" + strings.Repeat("b", 128)

func TestParse(t *testing.T) {
	for _, tt := range []struct{ in, canonical, tag, text string }{
		{"nginx", "docker.io/library/nginx:latest", "latest", "nginx"},
		{"nginx:1.25", "docker.io/library/nginx:1.25", "1.25", "nginx:1.25"},
		{"docker.io/a/b:1", "docker.io/a/b:1", "1", "docker.io/a/b:1"},
		{"index.docker.io/a/b", "docker.io/a/b:latest", "latest", "index.docker.io/a/b"},
		{"host:5000/c:2", "host:5000/c:2", "2", "host:5000/c:2"},
		{"[::1]:5000/d", "[::1]:5000/d:latest", "latest", "[::1]:5000/d"},
		{"MYREG/app:v1", "MYREG/app:v1", "v1", "MYREG/app:v1"},
		{"localHost/app:1", "localHost/app:1", "1", "localHost/app:1"},
		{"nginx@" + d256, "docker.io/library/nginx@" + d256, "", "nginx"},
		{"nginx:1@" + d256, "docker.io/library/nginx:1@" + d256, "1", "nginx:1"},
		{"nginx:1@" + d512, "docker.io/library/nginx:1@" + d512, "1", "nginx:1"},
	} {
		got, err := ref.Parse(tt.in)
		if err != nil {
			t.Errorf("Parse(%q): %v", tt.in, err)
			continue
		}
		if got.Canonical() != tt.canonical || got.Tag() != tt.tag || got.Text() != tt.text ||
			got.String() != tt.in {
			t.Errorf("Parse(%q) = %q, tag %q, text %q, spelled %q, want %q, %q, %q, %q", tt.in,
				got.Canonical(), got.Tag(), got.Text(), got, tt.canonical, tt.tag, tt.text, tt.in)
		}
	}
}

// TestShort tests which texts name no host. The names of Docker Hub are hosts like all others.
func TestShort(t *testing.T) {
	for in, want := range map[string]bool{
		"nginx": true, "nginx:1.25": true, "library/nginx:1": true, "team/app/x": true,
		"nginx:1@" + d256: true, "docker.io": true, "docker/io:1": true, "localhosts/x": true,
		"docker.io/nginx": false, "docker.io/library/nginx:1": false, "index.docker.io/x": false,
		"ghcr.io/a/b": false, "host:5000/c": false, "localhost/c": false, "MYREG/app:v1": false,
		"Docker.io/x": false, "[::1]:5000/d": false,
	} {
		if got := ref.MustParse(in).Short(); got != want {
			t.Errorf("Parse(%q).Short() = %t, want %t", in, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"Nginx", "a/../b", "a//b", "..", "nginx:-x", "nginx:.x", "r@junk", "nginx@sha256:abc",
		"https://host/a", "a b", "nginx:", "@" + d256, strings.Repeat("a", 64),
		strings.Repeat("a/", 200) + "a",
	} {
		if got, err := ref.Parse(in); err == nil {
			t.Errorf("Parse(%q) = %q, want an error", in, got.Canonical())
		}
	}
	for _, in := range []string{"", " ", "\t\n"} {
		if _, err := ref.Parse(in); !errors.Is(err, ref.ErrBlank) {
			t.Errorf("Parse(%q): %v, want ErrBlank", in, err)
		}
	}
}

// TestParseLong tests that a text longer than MaxLength is refused without being parsed, quoted in
// full or copied.
func TestParseLong(t *testing.T) {
	for _, unit := range []string{"a/", "\x7f", " ", "a.", "a:"} {
		text := strings.Repeat(unit, 3<<20/len(unit)) + "a"
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		_, err := ref.Parse(text)
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		if err == nil || len(err.Error()) > 1024 {
			t.Errorf("Parse of 3 MiB of %q: %.1100v, want a short error", unit, err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
			t.Errorf("Parse of 3 MiB of %q allocates %d bytes, want at most 64 KiB", unit, got)
		}
		if took > 100*time.Millisecond { // the grammar would take a second
			t.Errorf("Parse of 3 MiB of %q takes %v, want at most 100ms", unit, took)
		}
	}
}

// TestParseLongest tests that the longest valid reference is parsed, and so is its pin.
func TestParseLongest(t *testing.T) {
	host := strings.Repeat(strings.Repeat("a", 62)+".", 4) + "b:65535"
	text := host + "/" + strings.Repeat("a", 255) + ":" + strings.Repeat("t", 128)
	pin := ref.MustParse(text).WithDigest(digest.Digest(d512))
	if back, err := ref.Parse(pin.String()); err != nil || back != pin {
		t.Errorf("Parse(%q) = %q, %v, want the same reference", pin, back, err)
	}
	if r, err := ref.Parse("a" + strings.Repeat(".a", 130) + "/b"); err == nil {
		t.Errorf("Parse of a host of 261 bytes = %q, want an error", r)
	}
}

func TestWithDigest(t *testing.T) {
	for _, tt := range []struct{ in, pin, digestOnly string }{
		{"nginx", "nginx@" + d256, "nginx@" + d256},
		{"nginx:1.25", "nginx:1.25@" + d256, "nginx@" + d256},
		{"host:5000/c:2", "host:5000/c:2@" + d256, "host:5000/c@" + d256},
		{"host:5000/c", "host:5000/c@" + d256, "host:5000/c@" + d256},
		{"a:a@" + d512, "a:a@" + d256, "a@" + d256},
	} {
		got := ref.MustParse(tt.in).WithDigest(d256)
		if got.String() != tt.pin || got.WithoutTag().String() != tt.digestOnly {
			t.Errorf("%q.WithDigest = %q, without its tag %q, want %q and %q", tt.in,
				got, got.WithoutTag(), tt.pin, tt.digestOnly)
		}
	}
	if got := ref.MustParse("nginx:1").WithoutTag(); got.String() != "nginx:1" {
		t.Errorf("nginx:1.WithoutTag() = %q, want nginx:1", got)
	}
}

// FuzzParse compares Parse with the grammar that the kubelet uses, and parses each pin again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"nginx", "host:5000/a/b:1", "a@" + d256, "[::1]:5/a", "A/b", "", "a:b:c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 255 {
			return // the grammar does not limit the host, and Parse does
		}
		r, err := ref.Parse(text)
		_, wantErr := reference.ParseNormalizedNamed(text)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("Parse(%q): %v, want as the kubelet's grammar: %v", text, err, wantErr)
		}
		if err != nil {
			return
		}
		pin := r.WithDigest(digest.Digest(d256))
		back, err := ref.Parse(pin.String())
		if err != nil || back != pin || back.Text() != r.Text() ||
			back.Repository() != r.Repository() {
			t.Fatalf("Parse(%q), the pin of %q = %q, %v", pin, text, back, err)
		}
		dropped := pin.WithoutTag()
		back, err = ref.Parse(dropped.String())
		if err != nil || back != dropped || back.Repository() != r.Repository() ||
			back.Tag() != "" {
			t.Fatalf("Parse(%q), the pin of %q without its tag = %q, %v", dropped, text, back, err)
		}
		again, err := ref.Parse(r.Canonical())
		if err != nil || again.Canonical() != r.Canonical() {
			t.Fatalf("Parse(%q), the canonical form of %q = %q, %v",
				r.Canonical(), text, again.Canonical(), err)
		}
	})
}

func TestAt(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("a", 64)
	for _, tt := range []struct{ text, repository, want string }{
		{"nginx", "m.internal:5000/library/nginx", "m.internal:5000/library/nginx:latest"},
		{"ghcr.io/a/b:1", "harbor.internal/ghcr/a/b", "harbor.internal/ghcr/a/b:1"},
		{"ghcr.io/a/b:1" + digest, "m.internal/a/b", "m.internal/a/b:1" + digest},
		{"ghcr.io/a/b" + digest, "m.internal/a/b", "m.internal/a/b" + digest},
		{"ghcr.io/a", "m.internal/b/" + strings.Repeat("a", 254), ""},
		{"ghcr.io/a", "m.internal/UPPER", ""},
		{"ghcr.io/a", "m.internal/", ""},
		{"ghcr.io/a" + digest, "m.internal/a:1", ""},
		{"ghcr.io/a", "m.internal/a:1", ""},
		{"ghcr.io/a", "m.internal/a" + digest, ""},
	} {
		got, err := ref.MustParse(tt.text).At(tt.repository)
		if (err == nil) != (tt.want != "") || err == nil && got.Canonical() != tt.want {
			t.Errorf("%q.At(%q) = %v, %v, want %q", tt.text, tt.repository, got, err, tt.want)
		}
	}
}
