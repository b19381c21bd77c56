// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap/zapcore"

	"github.com/tagpin/tagpin/pkg/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestVersionAndHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"--version"}, &stdout, &stderr); code != exitOK || !strings.HasPrefix(stdout.String(), "tagpin-webhook ") {
		t.Errorf("run(--version) = %d, %q, want 0 and the version", code, stdout.String())
	}
	for _, args := range [][]string{{"--help"}, {"manifests", "--help"}, {"resolve", "--help"}} {
		stdout.Reset()
		code := run(t.Context(), args, &stdout, &stderr)
		if code != exitOK || stderr.Len() > 0 || !strings.Contains(stdout.String(), "\n  --config file\n") || strings.Contains(stdout.String(), "\n  -c") {
			t.Errorf("run(%q) = %d, stdout %q, stderr %q, want 0 and the flags on stdout, with two dashes", args, code, stdout.String(), stderr.String())
		}
	}
}

// TestNoLineIsDropped checks that the log has every line, however many there are.
func TestNoLineIsDropped(t *testing.T) {
	var out bytes.Buffer
	log := newLogger(&out, zapcore.InfoLevel)
	for range 1000 {
		log.Info("admission", "uid", "u")
	}
	log.V(1).Info("not at this level")
	if lines := strings.Count(out.String(), "\n"); lines != 1000 || !strings.Contains(out.String(), `"uid":"u"`) {
		t.Errorf("%d lines, want 1000, like %.200s", lines, out.String())
	}
}

// lastError returns the error in the last line of a log.
func lastError(t *testing.T, log string) string {
	t.Helper()
	all := strings.Split(strings.TrimSpace(log), "\n")
	var entry struct{ Level, Msg, Error string }
	if err := json.Unmarshal([]byte(all[len(all)-1]), &entry); err != nil || entry.Level != "error" || entry.Msg == "" {
		t.Errorf("the last line is %q, want a JSON object of level error", all[len(all)-1])
	}
	return entry.Error
}

// TestNotes checks what is logged about settings that have no effect, or not the expected one.
func TestNotes(t *testing.T) {
	for _, tt := range []struct {
		change     func(*config.Config)
		standalone bool
		want       []string
	}{
		{func(*config.Config) {}, false, []string{"registration.name is not set"}},
		{func(*config.Config) {}, true, []string{"needs an API server"}},
		{func(c *config.Config) { c.Certificates.Mode = config.Mounted }, false, nil},
		{func(c *config.Config) { c.Registration.Name = "zz-tagpin" }, false, nil},
		{func(c *config.Config) {
			c.Registration.Name, c.Certificates.Mode = "zz-tagpin", config.Mounted
			c.Observability.Tracing = "http://x"
		}, true, []string{"registration.name has no effect"}},
	} {
		c := config.Default()
		tt.change(c)
		got := notes(c, tt.standalone)
		if len(got) != len(tt.want) {
			t.Errorf("notes = %q, want %q", got, tt.want)
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(got[i], want) {
				t.Errorf("note %q, want %q", got[i], want)
			}
		}
	}
}

// TestBadSettings checks that the server does not start with bad settings, and names each mistake.
func TestBadSettings(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	text := "apiVersion: tagpin.dev/v1alpha1\nkind: Config\noutptu: digest\ncache: {ttl: -1s}\nregistries: [{host: a.b}, {host: a.b}]\n"
	noCA := filepath.Join(dir, "ca.yaml")
	caText := "apiVersion: tagpin.dev/v1alpha1\nkind: Config\nregistries: [{host: a.b, caFile: /no/such/file}]\n"
	for path, content := range map[string]string{bad: text, noCA: caText} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		logged bool // in the format of the log
		want   []string
	}{
		{"unknown flag", []string{"--colour"}, exitUsage, false, []string{"-colour"}},
		{"argument", []string{"--webhook-port", "0", "serve"}, exitUsage, false, []string{`"serve"`, "--webhook-port 0"}},
		{"empty", []string{"--client-ca", "", "--cert-dir="}, exitUsage, false, []string{"--client-ca has an empty value", "--cert-dir has an empty value"}},
		{"level", []string{"--log-level", "loud"}, exitUsage, false, []string{"unrecognized level"}},
		{"both", []string{"--standalone", "--kubeconfig", "x"}, exitUsage, false, []string{"--standalone"}},
		{"no config", []string{"--config", filepath.Join(dir, "none")}, exitUsage, true, []string{"no such file"}},
		{"bad config", []string{"--config", bad}, exitUsage, true, []string{"line 3: field outptu is unknown", "cache.ttl", `registries[1].host: "a.b"`}},
		{"no CA", []string{"--config", noCA, "--standalone"}, exitUsage, true, []string{"registry a.b", "/no/such/file"}},
		{"no API server", []string{"--kubeconfig", filepath.Join(dir, "none")}, exitUsage, true, []string{"--kubeconfig, or --standalone"}},
		{"no certificate", []string{"--standalone", "--cert-dir", dir}, exitFailed, true, []string{"serving certificate"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(context.Background(), tt.args, &stdout, &stderr); code != tt.code {
				t.Errorf("run(%q) = %d, want %d; stderr:\n%s", tt.args, code, tt.code, stderr.String())
			}
			said := stderr.String()
			if tt.logged {
				said = lastError(t, said)
			}
			for _, want := range tt.want {
				if !strings.Contains(said, want) {
					t.Errorf("run(%q) says %q, want it to name %q", tt.args, said, want)
				}
			}
			if stdout.Len() > 0 {
				t.Errorf("run(%q) wrote %q to stdout, want nothing", tt.args, stdout.String())
			}
		})
	}
}
