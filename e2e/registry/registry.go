// SPDX-License-Identifier: Apache-2.0

// Package registry runs distribution v3, the reference implementation, over TLS and with its images
// in memory: open, or behind tokens, or behind a password.
//
//	r, err := registry.Start(registry.Options{CA: ca, Auth: registry.Token, Dir: dir})
//	digest, err := r.PushImage("team/app:1")
//
// It counts the requests for manifests, and can be switched off and on.
package registry

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd" // for Basic
	_ "github.com/distribution/distribution/v3/registry/auth/token"    // for Token
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // for the images
	"github.com/sirupsen/logrus"
	"golang.org/x/crypto/bcrypt"

	"github.com/tagpin/tagpin/e2e/pki"
)

// Auth is how clients authenticate.
type Auth int

// The ways to authenticate.
const (
	Open  Auth = iota // not at all
	Token             // with a bearer token, which a realm gives for a user name and a password
	Basic             // with a user name and a password
)

// The only user of a registry with Token or Basic. All passwords contain the canary, by which tests
// find them where they must not be.
const (
	User          = "puller"
	Password      = Canary + "-password"
	WrongPassword = Canary + "-wrong-password"
	Canary        = "e2e-canary"
)

// Options are the options of Start.
type Options struct {
	CA   *pki.CA
	Auth Auth
	Dir  string // for its files
	// Listener accepts the connections, and Dial connects to it for a push. By default the registry
	// listens at a free port on loopback.
	Listener net.Listener
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
}

// Registry is a running registry.
type Registry struct {
	Host string // address:port, as in references

	server    *httptest.Server
	transport http.RoundTripper
	auth      Auth
	realm     *Realm // only with Token
	manifests atomic.Int64
	down      atomic.Bool

	mu      sync.Mutex
	lookups map[string]int // by repository
}

// Start starts a registry. The caller must call Stop.
func Start(o Options) (*Registry, error) {
	logrus.SetOutput(io.Discard) // distribution logs every request, whatever its config says
	r := &Registry{auth: o.Auth, lookups: map[string]int{}}
	r.transport = &http.Transport{
		DialContext:     o.Dial,
		TLSClientConfig: &tls.Config{RootCAs: o.CA.Pool(), MinVersion: tls.VersionTLS12},
	}
	r.server = httptest.NewUnstartedServer(nil)
	if o.Listener != nil {
		_ = r.server.Listener.Close()
		r.server.Listener = o.Listener
	}
	at := r.server.Listener.Addr().(*net.TCPAddr)
	r.Host = at.String()
	serving, err := serverConfig(o.CA, at.IP)
	if err != nil {
		return nil, errors.Join(err, r.server.Listener.Close())
	}
	mux, err := r.handler(o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting a registry: %w", err), r.server.Listener.Close())
	}
	r.server.Config.Handler = r.observe(mux)
	r.server.TLS = serving
	r.server.StartTLS()
	return r, nil
}

func serverConfig(ca *pki.CA, at net.IP) (*tls.Config, error) {
	leaf, err := ca.IssueFor("localhost", at.String())
	if err != nil {
		return nil, err
	}
	return leaf.ServerConfig()
}

// Stop stops the registry and drops its images.
func (r *Registry) Stop() { r.server.Close() }

// SetDown makes the registry answer every request with 503, or ends that.
func (r *Registry) SetDown(down bool) { r.down.Store(down) }

// Manifests returns the number of requests for manifests, with any method.
func (r *Registry) Manifests() int64 { return r.manifests.Load() }

// Lookups returns the number of HEAD and GET requests for manifests of a repository.
func (r *Registry) Lookups(repository string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lookups[repository]
}

func (r *Registry) count(req *http.Request) {
	repository, _, ok := strings.Cut(strings.TrimPrefix(req.URL.Path, "/v2/"), "/manifests/")
	if !ok {
		return
	}
	r.manifests.Add(1)
	if req.Method == http.MethodPut {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookups[repository]++
}

// Secrets returns what only the registry and its users may see: the passwords, also as they are
// sent, and the tokens.
func (r *Registry) Secrets() []string {
	secrets := []string{Canary, EncodedCanary()}
	if r.realm != nil {
		secrets = append(secrets, r.realm.Tokens()...)
	}
	return secrets
}

// EncodedCanary returns a text that is part of every password of the user as it is sent, in the
// base64 encoding of user:password.
func EncodedCanary() string {
	text := []byte(User + ":" + Canary)
	return base64.StdEncoding.EncodeToString(text[:len(text)/3*3])
}

func (r *Registry) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.count(req)
		if r.down.Load() {
			w.Header().Set("Retry-After", "1") // so that clients don't wait longer when it is back
			http.Error(w, "switched off", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, req)
	})
}

// handler returns the registry, and with Token its realm.
func (r *Registry) handler(o Options) (http.Handler, error) {
	config := &configuration.Configuration{
		Storage: configuration.Storage{"inmemory": configuration.Parameters{}},
	}
	config.HTTP.Secret = "one process, one secret"
	mux := http.NewServeMux()
	switch o.Auth {
	case Open:
	case Basic:
		users, err := Htpasswd(Password)
		file := filepath.Join(o.Dir, "htpasswd")
		if err := errors.Join(err, os.WriteFile(file, users, 0o600)); err != nil {
			return nil, err
		}
		parameters := configuration.Parameters{"realm": "e2e", "path": file}
		config.Auth = configuration.Auth{"htpasswd": parameters}
	case Token:
		realm, err := NewRealm(o.CA, r.Host)
		if err != nil {
			return nil, err
		}
		roots := filepath.Join(o.Dir, "token-roots.crt")
		if err := os.WriteFile(roots, o.CA.PEM, 0o600); err != nil {
			return nil, err
		}
		config.Auth = configuration.Auth{"token": realm.Parameters("https://"+r.Host+"/token", roots)}
		r.realm = realm
		mux.Handle("/token", realm)
	}
	mux.Handle("/", handlers.NewApp(context.Background(), config))
	return mux, nil
}

// Htpasswd returns a file of users and hashed passwords, with [User] and a password.
func Htpasswd(password string) ([]byte, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	return fmt.Appendf(nil, "%s:%s\n", User, hash), err
}
