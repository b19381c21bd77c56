// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestResolve checks that the command looks images up with the server's config, prints their
// digests, and says why a lookup fails as the log does.
func TestResolve(t *testing.T) {
	i := start(t, 0)
	defer i.end()
	config := []string{"--standalone", "--config", i.config}
	pinned := "ghcr.io/a/b@" + i.digest
	leaves := filepath.Join(t.TempDir(), "config.yaml")
	text := []byte("apiVersion: tagpin.dev/v1alpha1\nkind: Config\nshortNames: leave\n")
	if err := os.WriteFile(leaves, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"found", append(config, i.registry+"/app:1", pinned), exitOK, i.digest + "\n" + i.digest + "\n", ""},
		{
			"one fails", append(config, i.registry+"/none:1", i.registry+"/app:1"), exitFailed, i.digest + "\n",
			i.registry + "/none:1: notFound: " + i.registry + ": 404 Not Found\n",
		},
		{
			"cause", append(config, "127.0.0.1:1/a:1"), exitFailed, "",
			"127.0.0.1:1/a:1: unavailable: 127.0.0.1:1: connection refused (dial tcp 127.0.0.1:1: connect: connection refused)\n",
		},
		{
			"not printable", append(config, "a\x1b[31m:b"), exitUsage, "",
			`tagpin-webhook: invalid image reference "a\x1b[31m:b"`,
		},
		{"not printable, config", []string{"--config", "\x1b[31m", "a"}, exitUsage, "", `\u001b[31m: no such file`},
		{
			"no host",
			[]string{"--standalone", "--config", leaves, "app:1", "app@" + i.digest},
			exitUsage, "",
			"tagpin-webhook: app:1 names no registry host, and the config says shortNames: leave",
		},
		{"digest without a host", []string{"--standalone", "--config", leaves, "app@" + i.digest}, exitOK, i.digest + "\n", ""},
		{"no image", config, exitUsage, "", "tagpin-webhook: resolve: name an image\n"},
		{"bad image", append(config, "A:b:c"), exitUsage, "", "tagpin-webhook: invalid image reference"},
		{"bad config", []string{"--standalone", "--config", i.config + ".none", "a"}, exitUsage, "", "no such file"},
		{"bad flag", []string{"--output", "json"}, exitUsage, "", "-output"},
		{"two ways", append(config, "--kubeconfig", "x", "a"), exitUsage, "", "--standalone uses no API server"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append([]string{"resolve"}, tt.args...), &stdout, &stderr)
			if code != tt.code || stdout.String() != tt.stdout || !strings.Contains(stderr.String(), tt.stderr) || (stderr.Len() == 0) != (tt.stderr == "") {
				t.Errorf("run(resolve, %q) = %d, stdout %q, stderr %q, want %d, %q, %q",
					tt.args, code, stdout.String(), stderr.String(), tt.code, tt.stdout, tt.stderr)
			}
		})
	}
}
