// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
)

// loopback lets a client dial the test's own servers.
var loopback = network.Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

// start serves h with TLS, and returns its host and a client that trusts it.
func start(t *testing.T, h http.Handler) (host string, c *registry.Client) {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	c = &registry.Client{Network: network.Network{Rules: loopback, Roots: pool}}
	t.Cleanup(c.Close)
	return strings.TrimPrefix(s.URL, "https://"), c
}

// honest returns the registry of go-containerregistry, and a function that pushes another index to
// team/app:1.
func honest(t *testing.T) (http.Handler, func() digest.Digest) {
	t.Helper()
	h := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	return h, func() digest.Digest {
		index, err := random.Index(64, 1, 2)
		if err != nil {
			t.Fatal(err)
		}
		plain := httptest.NewServer(h)
		defer plain.Close()
		tag, err := name.NewTag(strings.TrimPrefix(plain.URL, "http://")+"/team/app:1", name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.WriteIndex(tag, index); err != nil {
			t.Fatal(err)
		}
		d, err := index.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return digest.Digest(d.String())
	}
}

func get(
	t *testing.T, c *registry.Client, image string, creds ...keychain.Credential,
) (resolve.Result, error) {
	t.Helper()
	req := resolve.Request{Ref: ref.MustParse(image), Credentials: creds, Fresh: true}
	return (&resolve.Registry{Client: c}).Resolve(t.Context(), req)
}

// byUser returns a registry with tokens that has no manifest, and a status for each user. That of
// others is 401.
func byUser(answer map[string]int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			user, _, _ := r.BasicAuth()
			fmt.Fprintf(w, `{"token":"t-%s"}`, user)
			return
		}
		user, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer t-")
		if !ok {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token"`, r.Host))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+json")
		w.WriteHeader(cmp.Or(answer[user], http.StatusUnauthorized))
	}
}

// TestRefused checks that the error says so if a credential was refused before the registry was
// unavailable to another one.
func TestRefused(t *testing.T) {
	own := keychain.Credential{Auth: authn.AuthConfig{Username: "own", Password: "p"}}
	for status, want := range map[int]bool{http.StatusForbidden: true, http.StatusNotFound: false} {
		host, c := start(t, byUser(map[string]int{"own": status, "": http.StatusTooManyRequests}))
		_, err := get(t, c, host+"/team/app:1", own)
		if got := errors.Is(err, registry.ErrRefused); got != want {
			t.Errorf("own credential answered by %d: Resolve = %v, an ErrRefused: %t, want %t",
				status, err, got, want)
		}
	}
}

// TestWhoseAnswer checks that the error is that of the tenant's own credential, whatever the next
// ones get, and that all answers to a shared credential have the same error (rules 4 and 5).
func TestWhoseAnswer(t *testing.T) {
	own := keychain.Credential{Auth: authn.AuthConfig{Username: "own", Password: "p"}}
	shared := keychain.Credential{Auth: authn.AuthConfig{Username: "shared", Password: "p"}, Shared: true}
	unread := keychain.Credential{Unread: true}
	hidden, unreadText := "not found or not allowed", "pull secret"
	for _, tt := range []struct {
		name   string
		answer map[string]int // by user
		creds  []keychain.Credential
		class  failure.Class
		want   string
	}{
		{"own refused, then nothing to see", map[string]int{"own": 401, "": 404}, []keychain.Credential{own}, failure.Unauthorized, "401"},
		{"own refused, then shared", map[string]int{"own": 401, "shared": 404, "": 404}, []keychain.Credential{own, shared}, failure.Unauthorized, "401"},
		{"own refused, then limited", map[string]int{"own": 403, "": 429}, []keychain.Credential{own}, failure.Unavailable, "403 Forbidden; with another credential: 429 Too Many Requests"},
		{"own hidden, then out of service", map[string]int{"own": 404, "": 503}, []keychain.Credential{own}, failure.NotFound, "404 Not Found"},
		{"own hidden, then out of service to shared", map[string]int{"own": 404, "shared": 503}, []keychain.Credential{own, shared}, failure.Unavailable, "404 Not Found; with another credential: 503 Service Unavailable"},
		{"own finds nothing", map[string]int{"own": 404, "": 401}, []keychain.Credential{own}, failure.NotFound, "404"},
		{"shared finds nothing", map[string]int{"shared": 404}, []keychain.Credential{shared}, failure.Unauthorized, hidden},
		{"shared is refused", map[string]int{"shared": 403, "": 404}, []keychain.Credential{shared}, failure.Unauthorized, hidden},
		{"shared finds what can't be used", map[string]int{"shared": 200, "": 404}, []keychain.Credential{shared}, failure.Unauthorized, hidden},
		{"shared is limited", map[string]int{"shared": 503}, []keychain.Credential{shared}, failure.Unavailable, "503"},
		{"refused without what was not read", nil, []keychain.Credential{unread}, failure.Unavailable, unreadText},
		{"nothing to see without it", map[string]int{"": 404}, []keychain.Credential{unread}, failure.Unavailable, unreadText},
		{"own refused, another not read", map[string]int{"own": 403}, []keychain.Credential{own, unread}, failure.Unavailable, unreadText},
		{"shared refused, own not read", map[string]int{"shared": 404}, []keychain.Credential{unread, shared}, failure.Unavailable, unreadText},
		{"limited without it", map[string]int{"": 503}, []keychain.Credential{unread}, failure.Unavailable, "503"},
		{"what can't be used", map[string]int{"": 200}, []keychain.Credential{unread}, failure.Invalid, "schema 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host, c := start(t, byUser(tt.answer))
			_, err := get(t, c, host+"/team/app:1", tt.creds...)
			class, _ := resolvetest.Class(err)
			if class != tt.class || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("Resolve = %v, want %s in the class %q alone", err, tt.want, tt.class)
			}
		})
	}
}

// TestUnreadIsNotNeeded checks that a secret that could not be read does no harm if another
// credential, or none, is accepted.
func TestUnreadIsNotNeeded(t *testing.T) {
	h, push := honest(t)
	host, c := start(t, h)
	want := push()
	creds := []keychain.Credential{{Auth: authn.AuthConfig{Username: "own", Password: "p"}}, {Unread: true}}
	for _, list := range [][]keychain.Credential{creds, creds[1:]} {
		got, err := get(t, c, host+"/team/app:1", list...)
		if err != nil || got.Digest != want {
			t.Errorf("Resolve = %v, %v, want %s", got, err, want)
		}
	}
}

// TestTurnElsewhere checks that a lookup does not wait for the turn of another namespace at the
// host that a running lookup of the same image was redirected to, and that both get its answer.
func TestTurnElsewhere(t *testing.T) {
	holding, release := make(chan struct{}), make(chan struct{})
	there, _ := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v2/hold/") {
			close(holding)
			<-release
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Docker-Content-Digest", d("D1").String())
	}))
	redirected := make(chan struct{}, 3)
	here, client := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://"+there+r.URL.Path, http.StatusFound)
		redirected <- struct{}{}
	}))
	t.Cleanup(func() { close(release) })
	client.Hosts = []registry.Host{
		{Name: here, Timeout: time.Minute},
		{Name: there, Timeout: time.Minute, MaxInFlight: 2}, // one for each namespace
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := remembering(t, &resolve.Registry{Client: client})
	c.Client = client
	ask := func(image, namespace string) <-chan result {
		results := make(chan result, 1)
		go func() {
			got, err := c.Resolve(ctx, of(image, namespace, false))
			results <- result{got, err}
		}()
		return results
	}
	ask(there+"/hold/app:1", "a")
	<-holding
	waiting := ask(here+"/team/app:1", "a")
	<-redirected
	other := ask(here+"/team/app:1", "b")
	for namespace, results := range map[string]<-chan result{"a": waiting, "b": other} {
		if got := <-results; got.err != nil || got.Digest != d("D1") {
			t.Errorf("Resolve for %s = %v, %v, want %s", namespace, got.Digest, got.err, d("D1"))
		}
	}
}
