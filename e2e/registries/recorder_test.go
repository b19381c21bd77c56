// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/tagpin/tagpin/e2e/pki"
)

// userAgent is tagpin's user agent in these tests. Requests with another one are not counted.
const userAgent = "tagpin/e2e"

// recorder counts the requests that a handler has answered.
type recorder struct {
	handler http.Handler

	mu       sync.Mutex
	requests asked
}

// ServeHTTP lets the handler answer. The request is counted before the answer is sent, because
// net/http sends a small answer when the handler has returned.
func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	if req.UserAgent() == userAgent {
		env.seen.shown(req)
	}
	r.handler.ServeHTTP(s, req)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests.add(req.Method, req.URL.Path, fmt.Sprint(s.status), req.UserAgent())
}

// take returns the requests since the last call.
func (r *recorder) take() asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.requests
	r.requests = asked{}
	return taken
}

func (a *asked) add(method, path, status, agent string) {
	switch {
	case agent != userAgent:
	case strings.HasSuffix(path, "/token"):
		a.Tokens = append(a.Tokens, status)
	case manifestPath.MatchString(path):
		a.Manifests = append(a.Manifests, method+" "+status)
	default:
		a.Manifests = append(a.Manifests, method+" "+path+" "+status)
	}
}

// manifestPath matches the paths of the images' manifests.
var manifestPath = regexp.MustCompile(`^/v2/[a-z]+/app/manifests/`)

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// newServer starts a server on loopback, which the end of the test stops. It uses TLS unless leaf
// is nil.
func newServer(t testing.TB, leaf *pki.Leaf, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients may close connections at any time
	if leaf == nil {
		server.Start()
	} else {
		var err error
		if server.TLS, err = leaf.ServerConfig(); err != nil {
			t.Fatal(err)
		}
		server.EnableHTTP2 = true
		server.StartTLS()
	}
	t.Cleanup(server.Close)
	return server
}
