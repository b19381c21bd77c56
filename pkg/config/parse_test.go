// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

const head = "apiVersion: tagpin.dev/v1alpha1\nkind: Config\n"

func parse(t *testing.T, body string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(head + body))
	if err != nil {
		t.Fatalf("Parse(%q) = %v, want a config", body, err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	if diff := cmp.Diff(config.Default(), parse(t, "")); diff != "" {
		t.Errorf("Parse of a file without settings differs from Default (-want +got):\n%s", diff)
	}
	empty := parse(t, "cache: {}\nregistries: []\nonFailure:\n")
	if diff := cmp.Diff(config.Default(), empty); diff != "" {
		t.Errorf("Parse of empty sections differs from Default (-want +got):\n%s", diff)
	}
	c, err := config.Load("")
	if diff := cmp.Diff(config.Default(), c); err != nil || diff != "" {
		t.Errorf("Load(\"\") = error %v, differs from Default (-want +got):\n%s", err, diff)
	}
}

// TestRevisionLabels tests that valid names of labels are accepted, and that a scan of a pod
// returns these labels.
func TestRevisionLabels(t *testing.T) {
	names := "[spark-app-selector, ray.io/cluster, A_b.c, x/" + strings.Repeat("x", 63) +
		labelList(12) + "]"
	c := parse(t, "revisionLabels: "+names+"\n")
	raw := []byte(`{"metadata":{"labels":{"ray.io/cluster":"a","app":"b"}}}`)
	pod, err := c.Table().Scan(workload.Kind{Kind: "Pod"}, raw)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"ray.io/cluster": "a"}
	if diff := cmp.Diff(want, pod.Metadata.Labels); diff != "" {
		t.Errorf("Scan(%s) finds other labels (-want +got):\n%s", raw, diff)
	}
}

func TestWholeFile(t *testing.T) {
	c, err := config.Load(filepath.Join("testdata", "whole.yaml"))
	if err != nil {
		t.Fatalf("Load(whole.yaml): %v", err)
	}
	again, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	back, err := config.Parse(again)
	if err != nil {
		t.Fatalf("Parse of a marshaled config: %v", err)
	}
	if diff := cmp.Diff(c, back, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Parse of a marshaled config differs from the first (-want +got):\n%s", diff)
	}
	policy := c.Policy()
	if !policy.Exempt[1].Match(ref.MustParse("localhost:5000/team/app:1")) {
		t.Errorf("Policy() = %+v, want localhost:5000/team/* to match", policy)
	}
	if kind := (workload.Kind{Group: "argoproj.io", Kind: "Rollout"}); !c.Table().Known(kind) {
		t.Errorf("Table() does not have %v", kind)
	}
	client := c.Client()
	host := client.Host("registry.internal:5000")
	if host.Timeout != 3*time.Second || host.MaxInFlight != 7 || !host.Mirrors[0].Resolve ||
		host.TLS.CA == "" || host.Verify {
		t.Errorf("Host(registry.internal:5000) = %+v, want its own settings and the timeout of *",
			host)
	}
	if m := host.Mirrors[1]; !m.OverridePath || m.Rewrites[0].Pattern.ReplaceAllString("library/a", m.Rewrites[0].Replacement) != "hub/a" {
		t.Errorf("the second mirror of registry.internal:5000 = %+v, want its overridePath and rewrites", m)
	}
	for name, want := range map[string]int{"docker.io": 1, "ghcr.io": 1, "quay.io": 0, "all.internal": 0, "registry.internal:5000": 2} {
		if got := client.Host(name).Mirrors; len(got) != want {
			t.Errorf("Host(%s).Mirrors = %+v, want %d", name, got, want)
		}
	}
	if other := client.Host("ghcr.io"); other.Timeout != 3*time.Second || !other.Verify {
		t.Errorf("Host(ghcr.io) = %+v, want the settings of *", other)
	}
	limits := c.Limits()
	if c.Cache.Size != 7 || limits.TTL != time.Minute || limits.StaleFor != 2*time.Hour {
		t.Errorf("Limits() = %+v, want those of whole.yaml", limits)
	}
}

// TestFormatIsRequired tests that a file without its apiVersion and kind is refused.
func TestFormatIsRequired(t *testing.T) {
	for _, data := range []string{
		"", "# nothing\n", "kind: Config\n", "apiVersion: tagpin.dev/v2\nkind: Config\n",
		"[]", "\t",
	} {
		if _, err := config.Parse([]byte(data)); err == nil {
			t.Errorf("Parse(%q) = nil, want an error", data)
		}
	}
}

// FuzzParse tests that a config is the same after it was marshaled and parsed.
func FuzzParse(f *testing.F) {
	whole, err := os.ReadFile(filepath.Join("testdata", "whole.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(head + "registries: [{host: '*'}, null, 1]\n"))
	f.Add([]byte(head + "a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse(data)
		if err != nil {
			return
		}
		written, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := config.Parse(written)
		if err != nil {
			t.Fatalf("Parse(%q), which was marshaled from %q = %v", written, data, err)
		}
		rewritten, err := yaml.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		if string(rewritten) != string(written) {
			t.Errorf("Parse(%q) is marshaled as %q, want the same text", written, rewritten)
		}
	})
}

func TestDuration(t *testing.T) {
	for in, want := range map[time.Duration]string{
		time.Hour: "1h", 90 * time.Minute: "1h30m", 5 * time.Minute: "5m",
		30 * time.Second: "30s", time.Hour + time.Second: "1h0m1s",
		1500 * time.Millisecond: "1.5s", 0: "0s", 10 * time.Minute: "10m", 20 * time.Hour: "20h",
	} {
		if got := config.Duration(in).String(); got != want {
			t.Errorf("Duration(%d).String() = %s, want %s", in, got, want)
		}
		if back, err := time.ParseDuration(want); err != nil || back != in {
			t.Errorf("ParseDuration(%s) = %s, %v, want %s", want, back, err, in)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if _, err := config.Load(path); err == nil {
		t.Error("Load of a missing file = nil, want an error")
	}
	if err := os.WriteFile(path, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(path); err == nil {
		t.Error("Load of 2 MiB = nil, want an error")
	}
}
