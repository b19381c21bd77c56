// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/audit"
)

const indexType = "application/vnd.oci.image.index.v1+json"

// serveIndex makes the registry serve one index as the tag app:1.
func (f *fixture) serveIndex(body string) {
	d := digest.FromString(body).String()
	f.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, nothing) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", indexType)
		w.Header().Set("Docker-Content-Digest", d)
		if r.Method == http.MethodGet {
			_, _ = w.Write([]byte(body))
		}
	})
}

// TestLargeIndex checks that an index with very many manifests is not read into memory: what it
// stands for is unknown.
func TestLargeIndex(t *testing.T) {
	f := newFixture(t)
	f.serveIndex(`{"schemaVersion":2,"mediaType":"` + indexType + `","manifests":[` +
		strings.Repeat(`{},`, 1_300_000) + `{}]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := report(t, f.auditor(t), one(f.host+"/app:1", f.host+"/app@"+nothing))
	runtime.ReadMemStats(&after)
	details := fmt.Sprint(r.Containers[0].Details)
	if r.Summary.States[audit.Unknown] != 1 || !strings.Contains(details, "more than 1000 manifests") {
		t.Errorf("states %v, %s, want unknown because of more than 1000 manifests", r.Summary.States, details)
	}
	if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 40 {
		t.Errorf("%d MiB were allocated for an index of 4 MiB, want at most 40", n)
	}
}

// TestOddIndex checks indexes whose descriptors have values of other types, or none.
func TestOddIndex(t *testing.T) {
	for _, tt := range []struct{ children, want string }{
		{`{"digest":7}`, "the index can't be read"},
		{`{"digest":"` + nothing + `","platform":7,"annotations":[]}`, ""},
		{`{"platform":{"os":{}}}`, "the index can't be read"},
		{`null,7,{"digest":"x"}`, "drifted"},
		{`{"digest":"` + nothing + `","platform":{"os":"unknown"}}`, "drifted"},
		{`{"digest":"` + nothing + `","annotations":{"vnd.docker.reference.type":"attestation-manifest"}}`, "drifted"},
	} {
		f := newFixture(t)
		f.serveIndex(`{"schemaVersion":2,"mediaType":"` + indexType + `","manifests":[` + tt.children + `]}`)
		r := report(t, f.auditor(t), one(f.host+"/app:1", f.host+"/app@"+nothing))
		got := fmt.Sprint(r.Containers[0].States, r.Containers[0].Details)
		if !strings.Contains(got, tt.want) || tt.want == "" && strings.Contains(got, "drifted") {
			t.Errorf("%s: %s, want %s", tt.children, got, tt.want)
		}
	}
}
