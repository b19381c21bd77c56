// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// userAgent is what tagpin calls itself in these tests; requests of others are not counted.
const userAgent = "tagpin/e2e"

// recorder notes the requests that a handler has answered.
type recorder struct {
	handler http.Handler

	mu    sync.Mutex
	notes asked
}

// ServeHTTP lets the handler answer. The note is written before the answer is sent: it is small, and net/http flushes it
// when the handler has returned.
func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	r.handler.ServeHTTP(s, req)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes.add(req.Method, req.URL.Path, fmt.Sprint(s.status), req.UserAgent())
}

func (r *recorder) take() asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	notes := r.notes
	r.notes = asked{}
	return notes
}

func (a *asked) add(method, path, status, agent string) {
	switch {
	case agent != userAgent:
	case path == "/token":
		a.Tokens = append(a.Tokens, status)
	case strings.HasPrefix(path, "/v2/"+repository+"/manifests/"):
		a.Manifests = append(a.Manifests, method+" "+status)
	default:
		a.Manifests = append(a.Manifests, method+" "+path+" "+status)
	}
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// newServer serves on loopback, over TLS unless plain, until the test ends.
func newServer(t testing.TB, a access, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients go away when they like
	if a == plain {
		server.Start()
	} else {
		leaf, err := env.ca.Issue()
		if err != nil {
			t.Fatal(err)
		}
		if server.TLS, err = leaf.ServerConfig(); err != nil {
			t.Fatal(err)
		}
		server.EnableHTTP2 = true
		server.StartTLS()
	}
	t.Cleanup(server.Close)
	return server
}
