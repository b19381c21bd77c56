// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tagpin/tagpin/hack/standalone"
)

// stage is a registry in this process, and tagpin-webhook and the floor in processes of their own.
type stage struct {
	images        *images
	registry      string // host:port
	tagpin, floor server
	client        *http.Client
	dir           string // folder of tagpin-webhook, certificates, configs and logs
	stops         []func()
}

// server is a running tagpin-webhook or the floor.
type server struct {
	*standalone.Server
	pprof string // host:port of the profiles; empty for the floor
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

// newStage starts all servers. standalone.Build must have built tagpin-webhook in dir.
func newStage(ctx context.Context, dir string) (*stage, error) {
	serverTLS, clientTLS, err := standalone.Certificate(dir)
	if err != nil {
		return nil, err
	}
	// API servers call webhooks with HTTP/1.1 (kubernetes#75791). So does this client, because a
	// transport with a TLSClientConfig does not use HTTP/2.
	transport := &http.Transport{TLSClientConfig: clientTLS, MaxIdleConnsPerHost: 256}
	st := &stage{
		dir: dir, client: &http.Client{Timeout: 20 * time.Second, Transport: transport},
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
	if err := st.startFloor(ctx); err != nil {
		st.close()
		return nil, err
	}
	if st.tagpin, err = st.startTagpin(ctx, "tagpin", defaultSize); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

// close stops all servers, the last one first.
func (st *stage) close() {
	for _, stop := range slices.Backward(st.stops) {
		stop()
	}
}

// startFloor starts this program as the floor.
func (st *stage) startFloor(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	address, err := standalone.FreeAddress(ctx)
	if err != nil {
		return err
	}
	log, port := filepath.Join(st.dir, "floor.log"), strings.TrimPrefix(address, "127.0.0.1:")
	st.floor.Server, err = standalone.Start(ctx, st.client, address, log,
		self, floorCommand, st.dir, port)
	if err == nil {
		st.stops = append(st.stops, st.floor.Stop)
	}
	return err
}

// defaultSize is the default of cache.size in the config.
const defaultSize = 10000

// startTagpin starts a tagpin-webhook whose cache has size entries.
func (st *stage) startTagpin(ctx context.Context, name string, size int) (server, error) {
	pprof, err := standalone.FreeAddress(ctx)
	if err != nil {
		return server{}, err
	}
	text := fmt.Appendf(nil, config, size, pprof, st.registry, filepath.Join(st.dir, "tls.crt"))
	s, err := standalone.StartWebhook(ctx, st.client, st.dir, name, text)
	if err != nil {
		return server{}, err
	}
	st.stops = append(st.stops, s.Stop)
	return server{s, pprof}, nil
}
