// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/child"
	"github.com/tagpin/tagpin/e2e/pki"
	"github.com/tagpin/tagpin/e2e/tools"
)

const (
	namespace = "shop"
	config    = `apiVersion: tagpin.dev/v1alpha1
kind: Config
certificates: {mode: mounted}
network: {allow: [127.0.0.0/8]}
registries: [{host: "*", timeout: 500ms}]
`
	kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q}}]
users: [{name: u, user: {}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`
)

// tagpin is tagpin-webhook, which runs as a program, and its files.
type tagpin struct {
	*child.Process

	ca               *pki.CA
	api              *api
	client           *http.Client
	webhook, metrics string
	lookup           []string // the flags of tagpin-webhook resolve
}

// start builds and starts tagpin-webhook.
func start(t *testing.T) *tagpin {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "tagpin-webhook")
	root, err := tools.Module(t.Context())
	if err == nil {
		err = tools.Go(t.Context(), filepath.Dir(root), "build", "-o", binary, "./cmd/tagpin-webhook")
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &tagpin{}
	if p.ca, err = pki.New(); err != nil {
		t.Fatal(err)
	}
	p.api = serveAPI(t)
	p.writeFiles(t, dir)
	p.client = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.ca.Pool(), MinVersion: tls.VersionTLS12},
	}}
	t.Cleanup(p.client.CloseIdleConnections)
	port := func() string {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		return l.Addr().String()
	}
	webhook, metrics, probes := port(), port(), port()
	host, number, _ := net.SplitHostPort(webhook)
	p.webhook, p.metrics = "https://"+webhook+"/enforce?timeout=10s", "http://"+metrics+"/metrics"
	p.lookup = []string{
		"--config=" + filepath.Join(dir, "config.yaml"),
		"--kubeconfig=" + filepath.Join(dir, "kubeconfig"),
	}
	p.Process = &child.Process{
		Path: binary, LogFile: filepath.Join(dir, "log"),
		Args: append([]string{
			"--cert-dir=" + dir, "--webhook-host=" + host, "--webhook-port=" + number,
			"--metrics-bind-address=" + metrics, "--health-probe-bind-address=" + probes,
		}, p.lookup...),
		Env: append(os.Environ(),
			"SSL_CERT_FILE="+filepath.Join(dir, "ca.crt"), "HTTPS_PROXY="+serveProxy(t), "HTTP_PROXY=",
			"NO_PROXY=.invalid,169.254.169.254"),
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	err = p.Wait(t.Context(), func(ctx context.Context) error {
		_, err := p.get(ctx, "http://"+probes+"/readyz")
		return err
	})
	if err != nil {
		t.Fatalf("tagpin-webhook: %v\n%s", err, p.Log())
	}
	return p
}

func (p *tagpin) writeFiles(t *testing.T, dir string) {
	t.Helper()
	leaf, err := p.ca.Issue()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"ca.crt": p.ca.PEM, "tls.crt": leaf.CertPEM, "tls.key": leaf.KeyPEM, "config.yaml": []byte(config),
		"kubeconfig": fmt.Appendf(nil, kubeconfig, p.api.address),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// get returns the body of an answer with status 200.
func (p *tagpin) get(ctx context.Context, url string) (body string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := p.client.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	text, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		err = errors.Join(err, errors.New(resp.Status))
	}
	return string(text), err
}

// deny posts the review of a pod with an image, and returns the message of the denial.
func (p *tagpin) deny(t *testing.T, uid, image, pullSecret string) string {
	t.Helper()
	pod := map[string]any{"spec": podSpec(image, pullSecret)}
	body, err := json.Marshal(map[string]any{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
		"request": map[string]any{
			"uid": uid, "kind": map[string]any{"version": "v1", "kind": "Pod"},
			"operation": "CREATE", "namespace": namespace, "object": pod,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(
		t.Context(), http.MethodPost, p.webhook, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := p.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var review struct {
		Response struct {
			Allowed bool
			Status  struct{ Message string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&review); err != nil {
		t.Fatal(err)
	}
	if review.Response.Allowed {
		t.Error("the pod was admitted, want a denial")
	}
	return review.Response.Status.Message
}

func podSpec(image, pullSecret string) map[string]any {
	spec := map[string]any{"containers": []any{map[string]any{"name": "web", "image": image}}}
	if pullSecret != "" {
		spec["imagePullSecrets"] = []any{map[string]any{"name": pullSecret}}
	}
	return spec
}

// line is a line of the log about a failed lookup.
type line struct{ Msg, UID, Namespace, Image, Registry, Class, Cause string }

// logged returns the line about the failed lookup of a review. It was written before the answer.
func (p *tagpin) logged(t *testing.T, uid string) line {
	t.Helper()
	for text := range strings.Lines(p.Log()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Errorf("the line %q is not a JSON object: %v", text, err)
		}
		if l.Msg == "lookup failed" && l.UID == uid {
			return l
		}
	}
	t.Fatalf("the log has no line about the failed lookup:\n%s", p.Log())
	return line{}
}

// reproduce runs tagpin-webhook resolve, as the runbooks say, and returns what it writes to stderr.
func (p *tagpin) reproduce(t *testing.T, image, pullSecret string) string {
	t.Helper()
	args := append([]string{"resolve", "--namespace=" + namespace}, p.lookup...)
	if pullSecret != "" {
		args = append(args, "--pull-secret="+pullSecret)
	}
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), p.Path, append(args, image)...)
	cmd.Env, cmd.Stderr = p.Env, &stderr
	out, err := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); err == nil || code != 1 || len(out) > 0 {
		t.Errorf("tagpin-webhook resolve = exit code %d, %q, want 1 and nothing", code, out)
	}
	return stderr.String()
}
