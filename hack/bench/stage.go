// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/util/cert"
)

// stage is a registry in this process, and tagpin-webhook and the floor in processes of their own.
type stage struct {
	images        *images
	registry      string // host:port
	tagpin, floor server
	client        *http.Client
	dir           string // folder of certificates, configs and logs
	binary        string // path of tagpin-webhook
	close         func()
}

// config is the config of tagpin-webhook. cache.ttl is longer than a run, so that cached digests do
// not expire. The limits of the registry are so high that they do not slow tagpin-webhook down.
const config = `apiVersion: tagpin.dev/v1alpha1
kind: Config
cache: {ttl: 30m, size: %d}
network: {allow: ["127.0.0.0/8"]}
observability: {pprof: %q}
registries:
- {host: %q, caFile: %q, requestsPerSecond: 100000, maxInFlight: 256}
`

func newStage(ctx context.Context, dir string) (_ *stage, err error) {
	localhost := net.IPv4(127, 0, 0, 1)
	certPEM, keyPEM, err := cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{localhost}, nil)
	if err != nil {
		return nil, err
	}
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	err = errors.Join(err,
		os.WriteFile(certFile, certPEM, 0o600), os.WriteFile(keyFile, keyPEM, 0o600))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	// API servers call webhooks with HTTP/1.1 (kubernetes#75791). So does this client, because a
	// transport with a TLSClientConfig does not use HTTP/2.
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: 256,
	}
	st := &stage{
		dir: dir, binary: webhookFile(dir),
		client: &http.Client{Timeout: 20 * time.Second, Transport: transport},
	}
	if st.images, err = newImages(); err != nil {
		return nil, err
	}
	server := httptest.NewUnstartedServer(st.images)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	server.EnableHTTP2 = true
	server.StartTLS()
	st.registry = strings.TrimPrefix(server.URL, "https://")
	st.close = func() { st.client.CloseIdleConnections(); server.Close() }
	if err := st.startServers(ctx); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

// buildWebhook builds tagpin-webhook into dir.
func buildWebhook(ctx context.Context, dir string, progress io.Writer) error {
	build := exec.CommandContext(ctx, "go", "build", "-o", webhookFile(dir), "./cmd/tagpin-webhook")
	build.Stderr = progress
	if err := build.Run(); err != nil {
		return fmt.Errorf("building tagpin-webhook, from the root of the repository: %w", err)
	}
	return nil
}

func webhookFile(dir string) string { return filepath.Join(dir, "tagpin-webhook") }

// startServers starts the floor and tagpin-webhook. buildWebhook must have built tagpin-webhook.
func (st *stage) startServers(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ports, err := freePorts(ctx, 1)
	if err != nil {
		return err
	}
	floorLog := filepath.Join(st.dir, "floor.log")
	st.floor, err = st.start(ctx, enforce(ports[0]), floorLog, self, floorCommand, st.dir, ports[0])
	if err != nil {
		return err
	}
	st.tagpin, err = st.startTagpin(ctx, "tagpin", defaultSize)
	return err
}

// defaultSize is the default of cache.size in the config.
const defaultSize = 10000

// startTagpin starts a tagpin-webhook whose cache has size entries.
func (st *stage) startTagpin(ctx context.Context, name string, size int) (server, error) {
	ports, err := freePorts(ctx, 2)
	if err != nil {
		return server{}, err
	}
	pprof, file := "127.0.0.1:"+ports[1], filepath.Join(st.dir, name+".yaml")
	certFile := filepath.Join(st.dir, "tls.crt")
	text := fmt.Appendf(nil, config, size, pprof, st.registry, certFile)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return server{}, err
	}
	s, err := st.start(ctx, enforce(ports[0]), filepath.Join(st.dir, name+".log"), st.binary,
		"--standalone", "--config", file, "--cert-dir", st.dir,
		"--webhook-host", "127.0.0.1", "--webhook-port", ports[0],
		"--health-probe-bind-address", "0", "--metrics-bind-address", "0")
	s.pprof = pprof
	return s, err
}

// enforce returns the URL of the webhook in mode enforce.
func enforce(port string) string { return "https://127.0.0.1:" + port + "/enforce" }
