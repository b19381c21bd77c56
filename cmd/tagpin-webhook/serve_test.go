// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestServe(t *testing.T) {
	i := start(t, 0)
	defer i.end()
	c := i.caller()
	for path, want := range map[string]string{
		"/enforce": i.registry + "/app:1@" + i.digest,
		"/dry-run": "proposed-pins",
	} {
		if got := i.patch(c, path); !strings.Contains(got, want) {
			t.Errorf("POST %s = patch %s, want %s in it", path, got, want)
		}
	}
	if got := i.patch(c, "/keep"); got != "" {
		t.Errorf("POST /keep = patch %s, want none", got)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body := i.get("http://" + i.probes + path); code != http.StatusOK {
			t.Errorf("GET %s = %d %s, want 200", path, code, body)
		}
	}
	_, body := i.get("http://" + i.metrics + "/metrics")
	for _, want := range []string{`tagpin_admission_reviews_total{mode="enforce",result="patched"} 1`, "go_goroutines"} {
		if !strings.Contains(body, want) {
			t.Errorf("GET /metrics lacks %s", want)
		}
	}
}

func TestReload(t *testing.T) {
	i := start(t, 0)
	defer i.end()
	c := i.caller()
	i.configure("output: digets\n")
	i.stderr.await(t, "config refused")
	if got := i.patch(c, "/enforce"); !strings.Contains(got, "/app:1@"+i.digest) {
		t.Errorf("after a bad config the patch is %s, want the former one's", got)
	}
	i.configure("output: digest\n")
	i.stderr.await(t, "config reloaded")
	if got := i.patch(c, "/enforce"); !strings.Contains(got, `/app@`+i.digest) {
		t.Errorf("after a good config the patch is %s, want a pin without the tag", got)
	}
	if _, body := i.get("http://" + i.metrics + "/metrics"); !strings.Contains(body, "tagpin_config_last_reload_successful 1") {
		t.Error("after a good config, the metrics lack tagpin_config_last_reload_successful 1")
	}
	i.configure("output: digest\nobservability: {tracing: 'http://127.0.0.1:1'}\n")
	i.stderr.await(t, `"settings":["observability"]`)
	i.configure("output: digest\ncache: {size: 5}\ncredentials: {pullSecrets: false}\n")
	i.stderr.await(t, "config reloaded")
	if got := i.patch(c, "/enforce"); !strings.Contains(got, `/app@`+i.digest) {
		t.Errorf("with another cache the patch is %s, want a pin", got)
	}
	_, body := i.get("http://" + i.metrics + "/metrics")
	if want := `tagpin_config_reloads_total{result="refused"} 1`; !strings.Contains(body, want) {
		t.Errorf("GET /metrics lacks %s", want)
	}
}

func TestProfiles(t *testing.T) {
	address := "127.0.0.1:" + freePort(t)
	i := startWith(t, 0, fmt.Sprintf("observability: {pprof: %q}\n", address))
	defer i.end()
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=1"} {
		if code, _ := i.get("http://" + address + path); code != http.StatusOK {
			t.Errorf("GET %s = %d, want 200", path, code)
		}
	}
}

// TestLog checks that each line is a JSON object, and that each review has one with its fields.
func TestLog(t *testing.T) {
	i := start(t, 0)
	c := i.caller()
	for _, path := range []string{"/enforce", "/dry-run", "/keep"} {
		i.patch(c, path)
	}
	resp, err := c.Post(i.webhook+"/enforce", "application/json", strings.NewReader("no review"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	i.end()
	lines := map[string]int{}
	for line := range strings.Lines(i.stderr.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("the line %q is not a JSON object: %v", line, err)
			continue
		}
		message := fmt.Sprint(entry["msg"])
		if lines[message]++; message != "admission" {
			continue
		}
		for _, field := range []string{"level", "ts", "logger", "uid", "mode", "verdict", "reason", "namespace", "kind", "name", "references", "pinned", "cached", "failed", "ms"} {
			if _, ok := entry[field]; !ok {
				t.Errorf("the line of a review lacks %s: %s", field, line)
			}
		}
		if entry["uid"] != "u1" || entry["references"] != 1.0 {
			t.Errorf("the line of a review is %s", line)
		}
	}
	if lines["admission"] != 3 || lines["review refused"] != 1 {
		t.Errorf("lines %v, want 3 of reviews and 1 of an invalid one", lines)
	}
}

func TestClientCertificate(t *testing.T) {
	dir := t.TempDir()
	other := &instance{t: t}
	other.certificates(dir)
	ca := filepath.Join(dir, "client-ca.crt")
	i := start(t, 0, "--client-ca", ca)
	defer i.end()
	if got := i.patch(i.caller(other.client), "/enforce"); !strings.Contains(got, i.digest) {
		t.Errorf("a caller with a certificate gets %s, want a pin", got)
	}
	if code, body := i.get("http://" + i.probes + "/readyz"); code != http.StatusOK {
		t.Errorf("GET /readyz = %d %s, want 200", code, body)
	}
	for which, c := range map[string]*http.Client{"without": i.caller(), "with a foreign": i.caller(i.client)} {
		if response, _, err := i.review(c, "/enforce"); err == nil {
			t.Errorf("a caller %s certificate gets %+v, want an error", which, response)
		}
	}
}

// TestDrain checks that a server that drains is not ready, but serves, and closes connections after
// their answers.
func TestDrain(t *testing.T) {
	i := start(t, time.Second)
	if code, _ := i.get("http://" + i.probes + "/readyz"); code != http.StatusOK {
		t.Errorf("GET /readyz = %d, want 200", code)
	}
	i.stop()
	i.stderr.await(t, "shutting down: no longer ready")
	if code, _ := i.get("http://" + i.probes + "/readyz"); code == http.StatusOK {
		t.Errorf("GET /readyz while it drains = %d, want it to fail", code)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: i.pool}}
	defer transport.CloseIdleConnections()
	response, resp, err := i.review(&http.Client{Transport: transport}, "/enforce")
	if err != nil || !response.Allowed || !resp.Close {
		t.Errorf("POST while it drains = %+v, %+v, %v, want an answer that closes the connection", response, resp, err)
	}
	i.end()
}
