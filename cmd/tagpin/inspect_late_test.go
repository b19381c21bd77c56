// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/image"
)

// TestInspectTimeout checks that what was found is printed when the time is over.
func TestInspectTimeout(t *testing.T) {
	const manifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"` +
		emptyDigest + `"},"layers":[]}`
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/blobs/"):
			<-r.Context().Done()
			return
		case !strings.Contains(r.URL.Path, "/manifests/"), strings.Contains(r.URL.Path, "/sha256-"):
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		_, _ = io.WriteString(w, manifest)
	}))
	defer registry.Close()
	var out, messages bytes.Buffer
	app := strings.TrimPrefix(registry.URL, "http://") + "/app:1"
	args := []string{"tagpin", "inspect", "--timeout", "2s", app}
	code := run(t.Context(), args, nil, &out, &messages)
	if code != exitLookup || !strings.Contains(out.String(), emptyDigest) ||
		!strings.Contains(messages.String(), "the 2s of --timeout are over") {
		t.Errorf("inspect = %d, %q, %q, want %d, the config's digest, and the time that is over",
			code, out.String(), messages.String(), exitLookup)
	}
}

// TestLeftOut checks that --limit is advised only where a larger one would look up more tags.
func TestLeftOut(t *testing.T) {
	for _, tt := range []struct {
		found image.Tags
		want  string
	}{
		{image.Tags{Total: 5, Asked: 1}, "only 1 of 5 or more tags were looked up; see --limit"},
		{image.Tags{Total: 5, Asked: 5}, "the registry's list was read up to 5 tags"},
		{image.Tags{Total: 5}, "the registry's list was read up to 5 tags"},
	} {
		if got := leftOut(&tt.found); got != tt.want {
			t.Errorf("leftOut(%+v) = %q, want %q", tt.found, got, tt.want)
		}
	}
}
