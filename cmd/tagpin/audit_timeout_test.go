// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// auditOf runs tagpin audit for a cluster with one pod, which runs app:1 of a registry.
func auditOf(ctx context.Context, t *testing.T, host string, args ...string) (
	code int, stdout string,
) {
	t.Helper()
	return auditWith(ctx, t, host, "", args...)
}

// auditWith is auditOf with more text in the config.
func auditWith(ctx context.Context, t *testing.T, host, more string, args ...string) (
	code int, stdout string,
) {
	t.Helper()
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
			"network: {allow: [127.0.0.0/8]}\nregistries: [{host: %q, insecure: true}]\n%s", host, more),
	}
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	args = append([]string{
		"tagpin", "audit", "--kubeconfig", filepath.Join(dir, "kubeconfig"),
		"--config", filepath.Join(dir, "config"),
	}, args...)
	code = run(ctx, args, nil, &out, io.Discard)
	return code, out.String()
}

// TestAuditTimeout checks that an audit prints what it knows when its time is nearly over, although
// a registry has not answered.
func TestAuditTimeout(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	}))
	defer silent.Close()
	code, out := auditOf(t.Context(), t, strings.TrimPrefix(silent.URL, "http://"), "--timeout", "1s")
	if code != exitLookup || !strings.Contains(out, "unknown,unpinned") {
		t.Errorf("audit = %d, %q, want %d and a row that is unknown", code, out, exitLookup)
	}
}

// TestAuditInterrupted checks that an audit that was interrupted prints no report.
func TestAuditInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code, out := auditOf(ctx, t, "registry.invalid")
	if code != exitSignal || out != "" {
		t.Errorf("audit = %d, %q, want %d and no report", code, out, exitSignal)
	}
}

// TestAuditWaits checks that an audit waits for a registry that limits its requests, but not longer
// than --timeout allows.
func TestAuditWaits(t *testing.T) {
	host, requests := busy(t, 1, http.StatusTooManyRequests, "1")
	code, out := auditOf(t.Context(), t, host)
	if code != exitFound || requests.Load() != 2 {
		t.Errorf("audit = %d after %d requests, %q, want %d after two", code, requests.Load(), out,
			exitFound)
	}
	host, requests = busy(t, 100, http.StatusTooManyRequests, "600")
	code, out = auditOf(t.Context(), t, host)
	if code != exitLookup || requests.Load() != 1 || !strings.Contains(out, "asked again in 600s") {
		t.Errorf("audit = %d after %d requests, %q, want %d after one", code, requests.Load(), out,
			exitLookup)
	}
}

// TestAuditSharedCredential checks that an image which the login of the config does not find is
// looked up with it, and not only refused. If it is refused without the login, the lookup has
// failed, because the login may not be allowed to see the image.
func TestAuditSharedCredential(t *testing.T) {
	for anonymous, want := range map[int]struct {
		code int
		text string
	}{
		http.StatusNotFound:     {exitFound, "the registry does not have the tag: %s: 404 Not Found"},
		http.StatusUnauthorized: {exitLookup, "the tag: %s: 404 Not Found, with a credential that all namespaces share; with another credential: 401 Unauthorized"},
	} {
		host := loginNeeded(t, anonymous)
		logins := filepath.Join(t.TempDir(), "config.json")
		text := fmt.Sprintf(`{"auths":{%q:{"auth":"dTpw"}}}`, host)
		if err := os.WriteFile(logins, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out := auditWith(t.Context(), t, host, fmt.Sprintf("credentials: {dockerConfig: %q}\n", logins), "-o", "json")
		if says := fmt.Sprintf(want.text, host); code != want.code || !strings.Contains(out, says) {
			t.Errorf("anonymous %d: audit = %d, %s, want %d, %s", anonymous, code, out, want.code, says)
		}
	}
}

// loginNeeded starts a registry that has no image, and returns its host. It wants a login, and
// answers with a status to lookups without one.
func loginNeeded(t *testing.T, anonymous int) (host string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch _, _, ok := r.BasicAuth(); {
		case ok:
			w.WriteHeader(http.StatusNotFound)
		case r.URL.Path == "/v2/", anonymous == http.StatusUnauthorized:
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(anonymous)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}
