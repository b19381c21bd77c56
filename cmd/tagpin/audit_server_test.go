// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestListen runs tagpin audit --listen, reads what it serves, and stops it.
func TestListen(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/pods") {
			_, _ = io.WriteString(w, `{"items":[{"metadata":{"name":"p","namespace":"ns"},"spec":{"containers":[{"name":"c","image":"!invalid"},{"name":"d","image":"unnamed.invalid/app:1"}]}}]}`)
		}
	}))
	defer api.Close()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"apiVersion":"v1","kind":"Config","current-context":"c","users":[{"name":"u","user":{}}],
		"clusters":[{"name":"blue","cluster":{"server":"` + api.URL + `"}}],"contexts":[{"name":"c","context":{"cluster":"blue","user":"u"}}]}`
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	logs, write := io.Pipe()
	exit := make(chan int, 1)
	args := []string{"tagpin", "audit", "--kubeconfig", kubeconfig, "--listen", "127.0.0.1:0"}
	go func() {
		exit <- run(ctx, args, nil, io.Discard, write)
		_ = write.Close()
	}()
	address, causes, audited := "", "", make(chan bool)
	lines := bufio.NewScanner(logs)
	for address == "" && lines.Scan() {
		var line struct{ Msg, Address string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%q is no JSON: %v", lines.Text(), err)
		}
		address = line.Address
	}
	go func() {
		for lines.Scan() {
			if strings.Contains(lines.Text(), `"msg":"lookup failed"`) {
				causes = lines.Text()
			}
			if strings.Contains(lines.Text(), `"msg":"audited"`) {
				close(audited)
			}
		}
	}()
	select {
	case <-audited:
	case <-time.After(time.Minute):
		t.Fatal("no audit within a minute")
	}
	if !strings.Contains(causes, `"causes":["unnamed.invalid: `) || strings.Contains(causes, `"causes":["unnamed.invalid: unreachable"`) {
		t.Errorf("log of a failed lookup %q, want its cause", causes)
	}
	for path, want := range map[string]string{
		"/": "Pod/p", "/report.json": `"the tag: unnamed.invalid: unreachable"`, "/healthz": "ok",
		"/metrics": `tagpin_audit_containers{state="unknown",workload_namespace="ns"} 2`,
	} {
		response, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("GET %s: %s, %v, %.300s, want %s in it", path, response.Status, err, body, want)
		}
		if csp := response.Header.Get("Content-Security-Policy"); path == "/" && !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("Content-Security-Policy of the page = %q", csp)
		}
	}
	stop()
	if code := <-exit; code != exitOK {
		t.Errorf("exit code %d after it was stopped, want 0", code)
	}
}

// TestBeforeFirstReport checks what is served before there is a report.
func TestBeforeFirstReport(t *testing.T) {
	w := httptest.NewRecorder()
	(&auditServer{}).handler(prometheus.NewRegistry()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("GET / = %d, %v, want 503 with Retry-After", w.Code, w.Header())
	}
}
