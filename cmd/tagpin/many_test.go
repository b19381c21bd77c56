// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// TestInterrupted stops the command before it has resolved anything.
func TestInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	const text = "{apiVersion: v1, kind: Pod, spec: {containers: [{name: a, image: localhost:1/a}]}}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"resolve", "localhost:1/a"}, {"inspect", "localhost:1/a"}} {
		code := run(ctx, append([]string{"tagpin"}, args...), nil, io.Discard, io.Discard)
		if code != exitSignal {
			t.Errorf("%s = %d, want %d", args, code, exitSignal)
		}
	}
	for _, command := range []string{"pin", "check"} {
		var out, messages bytes.Buffer
		code := run(ctx, []string{"tagpin", command, path}, strings.NewReader(""), &out, &messages)
		const want = "tagpin: interrupted; nothing was printed or written\n"
		if code != exitSignal || out.Len() > 0 || messages.String() != want {
			t.Errorf("%s = %d, %q, %q, want %d and %q", command, code, out.String(), messages.String(),
				exitSignal, want)
		}
	}
}

// BenchmarkPinMany pins 1,000 manifests of 50 images. The registry answers after 20 ms. The metric
// is the time of the command, divided by that of reading the files and one answer.
func BenchmarkPinMany(b *testing.B) {
	const answer = 20 * time.Millisecond
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(answer)
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		w.Header().Set("Docker-Content-Digest", digest.FromString("x").String())
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	dir := b.TempDir()
	config := filepath.Join(dir, "config.yaml")
	files := map[string]string{config: fmt.Sprintf("apiVersion: tagpin.dev/v1alpha1\nkind: Config\n"+
		"network: {allow: [127.0.0.0/8]}\nregistries: [{host: %q, insecure: true}]\n", host)}
	manifests := filepath.Join(dir, "manifests")
	if err := os.Mkdir(manifests, 0o700); err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		files[filepath.Join(manifests, fmt.Sprintf("%d.yaml", i))] = fmt.Sprintf("apiVersion: apps/v1\n"+
			"kind: Deployment\nmetadata: {name: d%d, labels: {app: d}}\nspec:\n  template:\n    spec:\n"+
			"      containers:\n      - name: a\n        image: %s/team/app%d:1\n%s", i, host, i%50,
			strings.Repeat("        # a comment, as there are many\n", 20))
	}
	for path, text := range files {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	args := []string{"tagpin", "pin", "--check", "--config", config, manifests}
	var reading time.Duration
	for b.Loop() {
		begin := time.Now()
		s := new(fileFlags).find(b.Context(), []string{manifests}, terminal{})
		new(fileFlags).parse(b.Context(), s, nil, nil, terminal{})
		reading += time.Since(begin)
		if len(s.files) != 1000 {
			b.Fatalf("%d files, want 1,000", len(s.files))
		}
		code := run(b.Context(), args, nil, io.Discard, io.Discard)
		if code != exitFound {
			b.Fatalf("pin --check = %d, want %d", code, exitFound)
		}
	}
	perRun := (b.Elapsed() - reading) / time.Duration(b.N)
	b.ReportMetric(float64(perRun)/float64(reading/time.Duration(b.N)+answer), "ratio")
}
