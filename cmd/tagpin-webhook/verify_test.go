// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// registered returns a registration whose webhooks are at a URL, and trust bundle.
func registered(url string, bundle []byte) *admissionregistrationv1.MutatingWebhookConfiguration {
	c := &admissionregistrationv1.MutatingWebhookConfiguration{
		TypeMeta: metav1.TypeMeta{
			APIVersion: "admissionregistration.k8s.io/v1", Kind: "MutatingWebhookConfiguration",
		},
		ObjectMeta: metav1.ObjectMeta{Name: "zz-tagpin"},
	}
	for _, mode := range []string{"enforce", "dry-run", "keep"} {
		at := url + "/" + mode
		c.Webhooks = append(c.Webhooks, admissionregistrationv1.MutatingWebhook{
			Name:         mode + ".tagpin.dev",
			Rules:        []admissionregistrationv1.RuleWithOperations{{}},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &at, CABundle: bundle},
		})
	}
	return c
}

// apiServing starts an API server that has the registrations, one for each read. The last one
// stays. A nil registration does not exist. It returns the path of a kubeconfig.
func apiServing(
	t *testing.T, live ...*admissionregistrationv1.MutatingWebhookConfiguration,
) (kubeconfig string) {
	t.Helper()
	const path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/zz-tagpin"
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		current := live[0]
		if len(live) > 1 {
			live = live[1:]
		}
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != path || current == nil {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
			return
		}
		_ = json.NewEncoder(w).Encode(current)
	}))
	t.Cleanup(api.Close)
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	text := "{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a}}], " +
		"clusters: [{name: a, cluster: {server: '" + api.URL + "'}}]}"
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// stranger starts a TLS server that is not tagpin. Its answers have characters that a terminal
// would obey.
func stranger(t *testing.T) (url string, bundle []byte) {
	t.Helper()
	answer := func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "\x1b[2Jhello\u202e", http.StatusTeapot)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(answer))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL, pem.EncodeToMemory(&pem.Block{
		Type: "CERTIFICATE", Bytes: server.Certificate().Raw,
	})
}

// TestVerify checks the lines of the command for several registrations and servers.
func TestVerify(t *testing.T) {
	i := start(t, 0)
	defer i.end()
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.client.Certificate[0]})
	good := registered(i.webhook, bundle)
	noRules, lacking := good.DeepCopy(), good.DeepCopy()
	noRules.Webhooks[1].Rules = nil
	lacking.Webhooks = lacking.Webhooks[:2]
	strangeURL, strangeBundle := stranger(t)
	for name, tt := range map[string]struct {
		live *admissionregistrationv1.MutatingWebhookConfiguration
		code int
		want []string
	}{
		"all well": {good, exitOK, []string{
			"ok    registration zz-tagpin: it has rules",
			"ok    dry-run.tagpin.dev: " + strings.TrimPrefix(i.webhook, "https://") + " has a certificate for 127.0.0.1 that the registration trusts, until 20",
			"ok    keep.tagpin.dev: a review was answered",
		}},
		"no registration": {nil, exitFailed, []string{
			"FAIL  registration zz-tagpin: it does not exist, so nothing is pinned; run helm upgrade",
		}},
		"no rules": {noRules, exitFailed, []string{
			"have no rules: dry-run.tagpin.dev; the log", "ok    dry-run.tagpin.dev: a review was answered",
		}},
		"a webhook is missing": {lacking, exitFailed, []string{
			"FAIL  keep.tagpin.dev: the registration lacks this webhook; delete the registration",
		}},
		"another certificate": {registered(i.webhook, strangeBundle), exitFailed, []string{
			"FAIL  enforce.tagpin.dev: connecting to 127.0.0.1:", "see the runbook TagpinCertificateExpires",
		}},
		"nobody listens": {registered("https://127.0.0.1:1", bundle), exitFailed, []string{
			"FAIL  enforce.tagpin.dev: connecting to 127.0.0.1:1: connect: connection refused; no replica is ready",
		}},
		"another server": {registered(strangeURL, strangeBundle), exitFailed, []string{
			"FAIL  keep.tagpin.dev: sending a review: 418 I'm a teapot: \\u001b[2Jhello\\u202e; the log",
		}},
		"another path": {registered(i.webhook+"/none", bundle), exitFailed, []string{
			"FAIL  keep.tagpin.dev: sending a review: 404 Not Found",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			args := []string{"verify", "--kubeconfig", apiServing(t, tt.live)}
			code := run(t.Context(), args, &stdout, &stderr)
			if code != tt.code || stderr.Len() > 0 {
				t.Errorf("run(verify) = %d, stderr %q, want %d and nothing", code, stderr.String(), tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("run(verify) wrote\n%s\nwant %q in it", stdout.String(), want)
				}
			}
			if strings.ContainsAny(stdout.String(), "\x1b\u202e") ||
				(strings.Contains(stdout.String(), "FAIL") != (code == exitFailed)) {
				t.Errorf("run(verify) = %d, wrote %q", code, stdout.String())
			}
		})
	}
}

// TestVerifyImage checks that the command has an image pinned, and says why one is not.
func TestVerifyImage(t *testing.T) {
	i := start(t, 0)
	defer i.end()
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.client.Certificate[0]})
	kubeconfig := apiServing(t, registered(i.webhook, bundle))
	for image, tt := range map[string]struct {
		code int
		want string
	}{
		i.registry + "/app:1":    {exitOK, "ok    image " + i.registry + "/app:1: it would be pinned to " + i.digest + "\n"},
		i.registry + "/app:none": {exitFailed, "FAIL  image " + i.registry + "/app:none: it would not be pinned: "},
		"a b":                    {exitFailed, "FAIL  image a b: it would not be pinned: "},
		"c d":                    {exitFailed, "tagpin-webhook resolve --config /etc/tagpin/config.yaml --namespace default "},
	} {
		var stdout, stderr bytes.Buffer
		args := []string{"verify", "--image", image, "--pull-secret", "none", "--kubeconfig", kubeconfig}
		code := run(t.Context(), args, &stdout, &stderr)
		if code != tt.code || !strings.Contains(stdout.String(), tt.want) {
			t.Errorf("run(%q) = %d, stdout %q, stderr %q, want %d, %q", args, code,
				stdout.String(), stderr.String(), tt.code, tt.want)
		}
	}
}

// TestVerifyWaits checks that the command tries again until the registration has rules.
func TestVerifyWaits(t *testing.T) {
	i := start(t, 0)
	defer i.end()
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.client.Certificate[0]})
	good := registered(i.webhook, bundle)
	empty := good.DeepCopy()
	empty.Webhooks[0].Rules = nil
	var stdout, stderr bytes.Buffer
	args := []string{"verify", "--wait", "1m", "--kubeconfig", apiServing(t, empty, good)}
	code := run(t.Context(), args, &stdout, &stderr)
	if code != exitOK || strings.Contains(stdout.String(), "FAIL") ||
		stderr.String() != "tagpin-webhook: a check fails; trying again for 1m0s\n" {
		t.Errorf("run(%q) = %d, stdout %q, stderr %q, want 0, and that it has waited",
			args, code, stdout.String(), stderr.String())
	}
}

// TestVerifyWithoutCertificate checks that a server with --client-ca is not sent a review.
func TestVerifyWithoutCertificate(t *testing.T) {
	dir := t.TempDir()
	(&instance{t: t}).certificates(dir)
	i := start(t, 0, "--client-ca", filepath.Join(dir, "client-ca.crt"))
	defer i.end()
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.client.Certificate[0]})
	var stdout, stderr bytes.Buffer
	args := []string{"verify", "--kubeconfig", apiServing(t, registered(i.webhook, bundle))}
	code := run(t.Context(), args, &stdout, &stderr)
	if code != exitOK || strings.Count(stdout.String(), "skip ") != 3 ||
		!strings.Contains(stdout.String(), "skip  enforce.tagpin.dev: no review was sent, because the server wants a client certificate") {
		t.Errorf("run(%q) = %d, stdout %q, stderr %q, want 0, and three skipped checks",
			args, code, stdout.String(), stderr.String())
	}
}

func TestVerifyUsage(t *testing.T) {
	for _, tt := range []struct {
		args         []string
		code         int
		stdout, want string
	}{
		{[]string{"--help"}, exitOK, "--wait", ""},
		{[]string{"--output", "json"}, exitUsage, "", "-output"},
		{[]string{"now"}, exitUsage, "", `unexpected argument "now"`},
		{[]string{"--kubeconfig", filepath.Join(t.TempDir(), "none")}, exitUsage, "", "no API server: set --kubeconfig: "},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{"verify"}, tt.args...), &stdout, &stderr)
		if code != tt.code || !strings.Contains(stdout.String(), tt.stdout) ||
			!strings.Contains(stderr.String(), tt.want) {
			t.Errorf("run(verify, %q) = %d, stdout %q, stderr %q, want %d, %q, %q",
				tt.args, code, stdout.String(), stderr.String(), tt.code, tt.stdout, tt.want)
		}
	}
}
