// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	admissionv1 "k8s.io/api/admission/v1"
)

// instance is a server that runs as in a pod, but without an API server. It has a registry, a
// certificate, a config file and ports of its own.
type instance struct {
	t                        *testing.T
	webhook, metrics, probes string
	pool                     *x509.CertPool
	client                   tls.Certificate
	config                   string // path
	registry                 string // host
	digest                   string // of app:1
	stop                     context.CancelFunc
	code                     chan int
	stderr                   *lines
}

// lines is the log of a server.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
	read int // the length of the text that was awaited
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits until the log has a text, after the texts that were awaited before.
func (l *lines) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		if i := strings.Index(l.String()[l.read:], text); i >= 0 {
			l.read += i + len(text)
			return
		}
		select {
		case <-l.more:
		case <-deadline:
			t.Fatalf("the log lacks %q:\n%s", text, l.String())
		}
	}
}

func start(t *testing.T, drain time.Duration, flags ...string) *instance {
	t.Helper()
	return startWith(t, drain, "", flags...)
}

// startWith starts a server with more lines in its config.
func startWith(t *testing.T, drain time.Duration, more string, flags ...string) *instance {
	t.Helper()
	i := &instance{t: t, code: make(chan int, 1), stderr: &lines{more: make(chan struct{}, 1)}}
	dir := t.TempDir()
	i.certificates(dir)
	i.push()
	i.config = filepath.Join(dir, "config.yaml")
	i.configure(more)
	port := freePort(t)
	i.metrics, i.probes = "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	i.webhook = "https://127.0.0.1:" + port
	args := append([]string{
		"--standalone", "--config", i.config, "--cert-dir", dir,
		"--webhook-host", "127.0.0.1", "--webhook-port", port,
		"--metrics-bind-address", i.metrics, "--health-probe-bind-address", i.probes,
	}, flags...)
	ctx, stop := context.WithCancel(t.Context())
	i.stop = stop
	go func() { i.code <- serve(ctx, args, io.Discard, i.stderr, drain) }()
	i.awaitReady()
	return i
}

// awaitReady waits until /readyz succeeds. It can't use the log, because the log of controller-
// runtime is a global that is set once for all tests.
func (i *instance) awaitReady() {
	i.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		if resp, err := http.Get("http://" + i.probes + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				http.DefaultClient.CloseIdleConnections()
				return
			}
		}
		select {
		case <-tick.C:
		case code := <-i.code:
			i.t.Fatalf("serve = %d; log:\n%s", code, i.stderr)
		case <-deadline:
			i.t.Fatalf("never ready; log:\n%s", i.stderr)
		}
	}
}

// end stops the server and waits for it.
func (i *instance) end() {
	i.t.Helper()
	i.stop()
	if code := <-i.code; code != exitOK {
		i.t.Errorf("serve = %d, want 0; log:\n%s", code, i.stderr)
	}
}

func (i *instance) configure(more string) {
	i.t.Helper()
	text := fmt.Sprintf("apiVersion: tagpin.dev/v1alpha1\nkind: Config\nnetwork: {allow: [127.0.0.1/32]}\nregistries: [{host: %q, insecure: true}]\n%s", i.registry, more)
	if err := os.WriteFile(i.config+".new", []byte(text), 0o600); err != nil {
		i.t.Fatal(err)
	}
	if err := os.Rename(i.config+".new", i.config); err != nil {
		i.t.Fatal(err)
	}
}

// push starts a registry that has app:1.
func (i *instance) push() {
	i.t.Helper()
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	i.t.Cleanup(server.Close)
	i.registry = strings.TrimPrefix(server.URL, "http://")
	image, err := random.Image(64, 1)
	if err != nil {
		i.t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	tag, err := name.ParseReference(i.registry + "/app:1")
	if err != nil {
		i.t.Fatal(err)
	}
	if err := remote.Write(tag, image, remote.WithTransport(transport)); err != nil {
		i.t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		i.t.Fatal(err)
	}
	i.digest = digest.String()
}

func (i *instance) certificates(dir string) {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		i.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		i.t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	for file, data := range map[string][]byte{"tls.crt": certPEM, "tls.key": keyPEM, "client-ca.crt": certPEM} {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			i.t.Fatal(err)
		}
	}
	i.pool = x509.NewCertPool()
	i.pool.AppendCertsFromPEM(certPEM)
	if i.client, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		i.t.Fatal(err)
	}
}

// caller returns a client with a connection pool of its own.
func (i *instance) caller(certificates ...tls.Certificate) *http.Client {
	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: i.pool, Certificates: certificates},
	}
	i.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// review sends the creation of a Pod with app:1.
func (i *instance) review(
	c *http.Client, path string,
) (*admissionv1.AdmissionResponse, *http.Response, error) {
	body := fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1","operation":"CREATE",
		"namespace":"default","kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},
		"userInfo":{"username":"someone"},"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},
		"spec":{"containers":[{"name":"app","image":"%s/app:1"}]}}}}`, i.registry)
	resp, err := c.Post(i.webhook+path+"?timeout=10s", "application/json", strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(resp.Body).Decode(&review); err != nil {
		return nil, resp, err
	}
	return review.Response, resp, nil
}

func (i *instance) patch(c *http.Client, path string) string {
	i.t.Helper()
	response, _, err := i.review(c, path)
	if err != nil || !response.Allowed {
		i.t.Fatalf("POST %s = %+v, %v, want it to be allowed; log:\n%s", path, response, err, i.stderr)
	}
	return string(response.Patch)
}

func (i *instance) get(url string) (int, string) {
	i.t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		i.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// lastPort is the port that freePort returned last. Each test binary begins at a random one.
var lastPort atomic.Int32

// freePort returns a port on which nobody listens, and which it has not returned before. It is
// below the ports that the kernel uses for outgoing connections, which could use it before the
// server does.
func freePort(t *testing.T) string {
	t.Helper()
	const first, ports = 10_000, 20_000
	lastPort.CompareAndSwap(0, mathrand.Int32N(ports))
	for range 100 {
		port := strconv.Itoa(first + int(lastPort.Add(1))%ports)
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}
