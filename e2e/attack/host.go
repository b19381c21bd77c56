// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
)

// Sizes and types of a registry's answers.
const (
	maxManifest = 4 << 20 // tagpin reads no more than this
	imageType   = "application/vnd.oci.image.manifest.v1+json"
)

// Host is a tenant's registry, over TLS.
type Host struct {
	Address string // as in references

	server   *httptest.Server
	over     chan struct{} // closed by close, to release handlers that hang
	requests atomic.Int64
}

// Serve starts a registry whose requests behave handles. Close stops it.
func (t *Tenant) Serve(ctx context.Context, behave handler) (*Host, error) {
	listener, err := t.place.Listen(ctx)
	if err != nil {
		return nil, err
	}
	h := &Host{Address: listener.Addr().String(), over: make(chan struct{})}
	host, _, err := net.SplitHostPort(h.Address)
	if err != nil {
		return nil, err
	}
	leaf, err := t.place.CA.IssueFor(host)
	if err != nil {
		return nil, err
	}
	count := func(w http.ResponseWriter, r *http.Request) {
		h.requests.Add(1)
		behave(h, w, r)
	}
	h.server = httptest.NewUnstartedServer(http.HandlerFunc(count))
	_ = h.server.Listener.Close() // another listener replaces it
	h.server.Listener = listener
	h.server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients may hang up at any time
	if h.server.TLS, err = leaf.ServerConfig(); err != nil {
		return nil, err
	}
	h.server.EnableHTTP2 = true
	h.server.StartTLS()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hosts = append(t.hosts, h)
	return h, nil
}

func (h *Host) close() {
	close(h.over)
	h.server.CloseClientConnections()
	h.server.Close()
}

// Requests returns the number of requests to the host.
func (h *Host) Requests() int64 { return h.requests.Load() }

// image returns the name of image number i of the host.
func (h *Host) image(i int) string { return fmt.Sprintf("%s/team/app-%d:1", h.Address, i) }

// wait waits until the client hangs up or the host is closed.
func (h *Host) wait(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-h.over:
	}
}

// hang never answers.
func hang(h *Host, _ http.ResponseWriter, r *http.Request) { h.wait(r) }

// stall sends all of a manifest of the maximum size except its last byte, and then waits.
func stall(h *Host, w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", imageType)
	w.Header().Set("Content-Length", fmt.Sprint(maxManifest))
	chunk := []byte(strings.Repeat(" ", 64<<10))
	for sent := 0; sent < maxManifest-1; {
		n, err := w.Write(chunk[:min(len(chunk), maxManifest-1-sent)])
		if err != nil {
			return
		}
		sent += n
	}
	_ = http.NewResponseController(w).Flush()
	h.wait(r)
}

// redirectForever redirects each request to the same host again, with another query.
func redirectForever(h *Host, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Location", fmt.Sprintf("https://%s%s?n=%d", h.Address, r.URL.Path, h.Requests()))
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// redirectFar redirects each request to a very long address of the same host, and closes the
// connection of a request for that.
func redirectFar(h *Host, w http.ResponseWriter, r *http.Request) {
	const length = 30_000
	if len(r.URL.Path) > length {
		panic(http.ErrAbortHandler)
	}
	far := strings.Repeat("f", length)
	w.Header().Set("Location", fmt.Sprintf("https://%s/%s", h.Address, far))
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// challenge refuses every request with a challenge.
func challenge(text string) handler {
	return func(_ *Host, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", text)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// raw answers every request with the given bytes.
func raw(answer string) handler {
	return func(_ *Host, w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, answer) // the client may have hung up
		_ = conn.Close()
	}
}

// The credential that strict accepts.
const (
	strictUser     = "puller"
	strictPassword = "tenants-canary-password"
)

const strictBody = `{"schemaVersion":2,"mediaType":"` + imageType + `",` +
	`"config":{"digest":"sha256:0"},"layers":[]}`

// strict has one repository, team/app, which requires the credential. It answers 401 for all
// others, as registries do that don't reveal what exists.
func strict(_ *Host, w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	allowed := user == strictUser && password == strictPassword
	if !allowed || !strings.HasPrefix(r.URL.Path, "/v2/team/app/") {
		w.Header().Set("WWW-Authenticate", `Basic realm="strict"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", imageType)
	w.Header().Set("Docker-Content-Digest", digest.FromString(strictBody).String())
	w.Header().Set("Content-Length", fmt.Sprint(len(strictBody)))
	if r.Method == http.MethodGet {
		_, _ = io.WriteString(w, strictBody) // the client may have hung up
	}
}
