// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// TestLookAtFiles checks that TLS files that have changed and can't be used are an error without a
// request to their registry, as long as they are there.
func TestLookAtFiles(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	good := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	dir := t.TempDir()
	write := func(file, text string) string {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	files := func(file string) network.TLSFiles {
		return network.TLSFiles{CA: write(file, string(good))}
	}
	c := &registry.Client{Hosts: []registry.Host{
		{Name: "*"},
		{Name: "plain.example"},
		{Name: "b.example", TLS: files("b")},
		{Name: "a.example", TLS: files("a")},
	}, Lenient: registry.Lenient{Hosts: []string{"b.example"}}}
	defer c.Close()
	look := func(want ...string) {
		t.Helper()
		for range 2 {
			text := ""
			if err := c.LookAtFiles(); err != nil {
				text = err.Error()
			}
			lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
			if len(lines) != len(want) {
				t.Fatalf("LookAtFiles = %q, want %d errors", text, len(want))
			}
			for i, line := range lines {
				if !strings.HasPrefix(line, want[i]) {
					t.Errorf("LookAtFiles has %q, want it to begin with %q", line, want[i])
				}
			}
		}
	}
	look()
	b, a := "registry b.example: "+write("b", "no PEM"), "registry a.example: "+write("a", "no PEM")
	look(a, b)
	write("b", string(good))
	look(a)
	write("a", string(good)+"\n")
	look()
}
