// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAuditTimeout checks that an audit prints what it knows when its time is nearly over, although
// a registry has not answered.
func TestAuditTimeout(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	}))
	defer silent.Close()
	host := strings.TrimPrefix(silent.URL, "http://")
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/pods") {
			_, _ = fmt.Fprintf(w, `{"items":[{"metadata":{"name":"p","namespace":"ns"},
				"spec":{"containers":[{"name":"c","image":"%s/app:1"}]}}]}`, host)
		}
	}))
	defer api.Close()
	files := map[string]string{
		"kubeconfig": `{"apiVersion":"v1","kind":"Config","current-context":"c",
			"users":[{"name":"u","user":{}}],"clusters":[{"name":"b","cluster":{"server":"` + api.URL + `"}}],
			"contexts":[{"name":"c","context":{"cluster":"b","user":"u"}}]}`,
		"config": fmt.Sprintf("apiVersion: tagpin.dev/v1alpha1\nkind: Config\n"+
			"network: {allow: [127.0.0.0/8]}\nregistries: [{host: %q, insecure: true}]\n", host),
	}
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	args := []string{
		"tagpin", "audit", "--kubeconfig", filepath.Join(dir, "kubeconfig"),
		"--config", filepath.Join(dir, "config"), "--timeout", "1s",
	}
	code := run(t.Context(), args, nil, &out, io.Discard)
	if code != exitLookup || !strings.Contains(out.String(), "unknown,unpinned") {
		t.Errorf("audit = %d, %q, want %d and a row that is unknown", code, out.String(), exitLookup)
	}
}
