// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tagpin/tagpin/hack/bench/baseline"
	"github.com/tagpin/tagpin/hack/standalone"
)

// stage is a registry in this process, and the servers in processes of their own.
type stage struct {
	settings
	cores
	progress io.Writer
	images   *images
	registry string // host:port
	client   *http.Client
	tls      *tls.Config // of clients
	dir      string      // folder of programs, certificates, configs and logs
	reviews  atomic.Int64
	stops    []func()

	// The servers of the warm load.
	raw, floor, tagpin *server
}

// server is a running process that answers reviews.
type server struct {
	*standalone.Server
	pprof   string // host:port of the profiles; empty if it is not tagpin-webhook
	callers [inFlight]*caller
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

// newStage starts the registry and the servers of the warm load. dir must have tagpin-webhook.
func newStage(
	ctx context.Context, s settings, c cores, dir string, progress io.Writer,
) (st *stage, err error) {
	serverTLS, clientTLS, err := standalone.Certificate(dir)
	if err != nil {
		return nil, err
	}
	clientTLS.ServerName = "127.0.0.1" // the name in the certificate
	// API servers call webhooks with HTTP/1.1 (kubernetes#75791). So does this client, because a
	// transport with a TLSClientConfig does not use HTTP/2.
	transport := &http.Transport{TLSClientConfig: clientTLS, MaxIdleConnsPerHost: 256}
	st = &stage{
		settings: s, cores: c, progress: progress, dir: dir, tls: clientTLS,
		client: &http.Client{Timeout: 20 * time.Second, Transport: transport},
	}
	if st.images, err = newImages(); err != nil {
		return nil, err
	}
	registry := httptest.NewUnstartedServer(st.images)
	registry.TLS = serverTLS
	registry.EnableHTTP2 = true
	registry.StartTLS()
	st.registry = strings.TrimPrefix(registry.URL, "https://")
	st.stops = []func(){registry.Close, st.client.CloseIdleConnections}
	st.raw, err = st.startSelf(ctx, baseline.Raw)
	if err == nil {
		st.floor, err = st.startSelf(ctx, baseline.Floor)
	}
	if err == nil {
		st.tagpin, err = st.startTagpin(ctx, "tagpin", defaultSize)
	}
	if err != nil {
		st.close(0)
		return nil, err
	}
	return st, nil
}

// close stops everything that was started after the first few, the last one first.
func (st *stage) close(keep int) {
	for _, stop := range slices.Backward(st.stops[keep:]) {
		stop()
	}
	st.stops = st.stops[:keep]
}

// startSelf starts this program as another server.
func (st *stage) startSelf(ctx context.Context, command string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	address, err := standalone.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	log, port := filepath.Join(st.dir, command+".log"), strings.TrimPrefix(address, "127.0.0.1:")
	return st.serve("", func() (*standalone.Server, error) {
		return standalone.Start(ctx, st.client, address, log,
			self, baseline.Arguments(command, st.dir, port)...)
	})
}

// defaultSize is the default of cache.size in the config.
const defaultSize = 10000

// startTagpin starts a tagpin-webhook whose cache has size entries.
func (st *stage) startTagpin(ctx context.Context, name string, size int) (*server, error) {
	pprof, err := standalone.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	text := fmt.Appendf(nil, config, size, pprof, st.registry, filepath.Join(st.dir, "tls.crt"))
	return st.serve(pprof, func() (*standalone.Server, error) {
		return standalone.StartWebhook(ctx, st.client, st.dir, name, text)
	})
}

// serve starts a server on the core of the servers.
func (st *stage) serve(pprof string, start func() (*standalone.Server, error)) (*server, error) {
	s := &server{pprof: pprof}
	err := st.asServer(func() (err error) {
		s.Server, err = start()
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range s.callers {
		s.callers[i] = &caller{address: s.Address, config: st.tls}
	}
	st.stops = append(st.stops, s.stop)
	return s, nil
}

// stop ends the process. It may be called again.
func (s *server) stop() {
	for _, c := range s.callers {
		c.close()
	}
	s.Stop()
}
