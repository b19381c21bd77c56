// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAuditRefusesFiles checks that an audit says so if the CA file of a registry has become
// unusable since the command began, although it asks that registry nothing.
func TestAuditRefusesFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var ca string
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := os.WriteFile(ca, []byte("no PEM"), 0o600); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"items":[]}`)
	}))
	defer api.Close()
	certificate := &pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw}
	ca = write("ca.crt", string(pem.EncodeToMemory(certificate)))
	kubeconfig := write("kubeconfig", `{"apiVersion":"v1","kind":"Config","current-context":"c",
		"users":[{"name":"u","user":{}}],"contexts":[{"name":"c","context":{"cluster":"b","user":"u"}}],
		"clusters":[{"name":"b","cluster":{"insecure-skip-tls-verify":true,"server":"`+api.URL+`"}}]}`)
	config := write("config", fmt.Sprintf("apiVersion: tagpin.dev/v1alpha1\nkind: Config\n"+
		"registries: [{host: registry.internal, caFile: %q}]\n", ca))
	var stderr strings.Builder
	args := []string{"tagpin", "audit", "--kubeconfig", kubeconfig, "--config", config}
	code := run(t.Context(), args, nil, io.Discard, &stderr)
	want := "TLS files refused; the former ones stay in use: registry registry.internal: " + ca
	if code != exitOK || !strings.Contains(stderr.String(), want) {
		t.Errorf("audit = %d, %q, want 0, and %q in it", code, stderr.String(), want)
	}
}
