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
	"sync"
	"testing"

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
)

// loopback lets the tests' own servers be dialled.
var loopback = network.Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

// recorder is a registry that notes what it is asked.
type recorder struct {
	handler http.Handler
	mu      sync.Mutex
	asked   []string
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	who := ""
	if h := req.Header.Get("Authorization"); h != "" {
		who, _, _ = strings.Cut(h, " ")
		who = " " + who
	}
	r.asked = append(r.asked, req.Method+" "+req.URL.Path+who)
	r.mu.Unlock()
	r.handler.ServeHTTP(w, req)
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.asked
	r.asked = nil
	return asked
}

// start serves h over TLS, and gives its host and a client that trusts it.
func start(t *testing.T, h http.Handler) (*recorder, string, *registry.Client) {
	t.Helper()
	rec := &recorder{handler: h}
	s := httptest.NewTLSServer(rec)
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	host := strings.TrimPrefix(s.URL, "https://")
	c := &registry.Client{Network: loopback, RootCAs: pool}
	t.Cleanup(c.Close)
	return rec, host, c
}

// honest is ggcr's registry with an image at repository:tag.
func honest(t *testing.T) (http.Handler, func() digest.Digest) {
	t.Helper()
	h := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	return h, func() digest.Digest {
		img, err := random.Index(64, 1, 2)
		if err != nil {
			t.Fatal(err)
		}
		plain := httptest.NewServer(h)
		defer plain.Close()
		tag, err := name.NewTag(strings.TrimPrefix(plain.URL, "http://")+"/team/app:1", name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.WriteIndex(tag, img); err != nil {
			t.Fatal(err)
		}
		d, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return digest.Digest(d.String())
	}
}

func get(t *testing.T, c *registry.Client, image string, creds ...keychain.Credential) (resolve.Result, error) {
	t.Helper()
	return (&resolve.Registry{Client: c}).Resolve(t.Context(), resolve.Request{Ref: ref.MustParse(image), Credentials: creds, Fresh: true})
}

func TestRegistryHead(t *testing.T) {
	h, push := honest(t)
	rec, host, c := start(t, h)
	want := push()
	got, err := get(t, c, host+"/team/app:1")
	if err != nil || got.Digest != want {
		t.Fatalf("Resolve = %v, %v, want %v", got, err, want)
	}
	if asked := rec.take(); len(asked) != 1 || asked[0] != "HEAD /v2/team/app/manifests/1" {
		t.Errorf("asked %q, want one HEAD", asked)
	}
}

func TestRegistryWithoutHeader(t *testing.T) {
	h, push := honest(t)
	for what, wrap := range map[string]func(http.ResponseWriter, *http.Request){
		"no digest header": func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(&without{ResponseWriter: w, header: "Docker-Content-Digest"}, r)
		},
		"HEAD refused": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			h.ServeHTTP(w, r)
		},
		"HEAD hidden": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			h.ServeHTTP(w, r)
		},
	} {
		t.Run(what, func(t *testing.T) {
			rec, host, c := start(t, http.HandlerFunc(wrap))
			want := push()
			got, err := get(t, c, host+"/team/app:1")
			if err != nil || got.Digest != want {
				t.Fatalf("Resolve = %v, %v, want %v", got, err, want)
			}
			if asked := rec.take(); len(asked) != 2 {
				t.Errorf("asked %q, want HEAD and GET", asked)
			}
		})
	}
}

// without drops a header of the answer.
type without struct {
	http.ResponseWriter
	header string
}

func (w *without) WriteHeader(code int) {
	w.Header().Del(w.header)
	w.ResponseWriter.WriteHeader(code)
}

func TestRegistryFailures(t *testing.T) {
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			fmt.Fprint(w, "canary-in-body")
		}
	}
	for _, tt := range []struct {
		name     string
		handler  http.HandlerFunc
		class    error
		requests int
	}{
		{"missing", status(404), failure.NotFound, 2},
		{"denied", status(403), failure.Unauthorized, 2},
		{"401 without challenge", status(401), failure.Unauthorized, 1},
		{"limited", status(429, "Retry-After", "17"), failure.Unavailable, 1},
		{"server error", status(500), failure.Unavailable, 1},
		{"closed for a while", status(503), failure.Unavailable, 1},
		{"HTML", status(200, "Content-Type", "text/html"), failure.Invalid, 2},
		{"malformed digest", status(200, "Content-Type", "application/vnd.oci.image.index.v1+json", "Docker-Content-Digest", "sha256:ABC"), failure.Invalid, 2},
		{"schema 1", status(200, "Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws"), failure.Invalid, 2},
		{"foreign realm", status(401, "WWW-Authenticate", `Bearer realm="https://evil.example/token"`), failure.Unauthorized, 2},
		{"realm over http", status(401, "WWW-Authenticate", `Bearer realm="http://127.0.0.1/token"`), failure.Invalid, 1},
		{"redirect to plain HTTP", status(302, "Location", "http://127.0.0.1:1/x"), failure.Invalid, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec, host, c := start(t, tt.handler)
			_, err := get(t, c, host+"/team/app:1", keychain.Credential{Auth: authn.AuthConfig{Username: "u", Password: "canary-password"}})
			if !errors.Is(err, tt.class) {
				t.Errorf("error %v, want class %v", err, tt.class)
			}
			if strings.Contains(fmt.Sprint(err), "canary") {
				t.Errorf("error %q tells a secret or a body", err)
			}
			asked := rec.take()
			if !errors.Is(tt.class, failure.Unauthorized) && len(asked) != tt.requests {
				t.Errorf("asked %q, want %d requests", asked, tt.requests)
			}
		})
	}
}

// The tenant's own credential is what the answer is about, whatever the ones after it get; and what
// a registry answers to a credential that is not the tenant's is one thing always.
func TestWhoseAnswer(t *testing.T) {
	own := keychain.Credential{Auth: authn.AuthConfig{Username: "own", Password: "p"}}
	shared := keychain.Credential{Auth: authn.AuthConfig{Username: "shared", Password: "p"}, Shared: true}
	unread := keychain.Credential{Unread: true}
	hidden, unreadText := "not found or not allowed", "pull secret"
	for _, tt := range []struct {
		name   string
		answer map[string]int // by user
		creds  []keychain.Credential
		class  error
		want   string
	}{
		{"own refused, then nothing to see", map[string]int{"own": 401, "": 404}, []keychain.Credential{own}, failure.Unauthorized, "401"},
		{"own refused, then shared", map[string]int{"own": 401, "shared": 404, "": 404}, []keychain.Credential{own, shared}, failure.Unauthorized, "401"},
		{"own refused, then limited", map[string]int{"own": 403, "": 429}, []keychain.Credential{own}, failure.Unauthorized, "403"},
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
			_, host, c := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
				w.WriteHeader(cmp.Or(tt.answer[user], http.StatusUnauthorized))
			}))
			_, err := get(t, c, host+"/team/app:1", tt.creds...)
			if !errors.Is(err, tt.class) || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("Resolve = %v, want %s in class %v", err, tt.want, tt.class)
			}
		})
	}
}

// A public image needs no secret, and a private one not those that it has no need of.
func TestUnreadIsNotNeeded(t *testing.T) {
	h, push := honest(t)
	_, host, c := start(t, h)
	want := push()
	creds := []keychain.Credential{{Auth: authn.AuthConfig{Username: "own", Password: "p"}}, {Unread: true}}
	for _, list := range [][]keychain.Credential{creds, creds[1:]} {
		got, err := get(t, c, host+"/team/app:1", list...)
		if err != nil || got.Digest != want {
			t.Errorf("Resolve = %v, %v, want %s", got, err, want)
		}
	}
}

// Some registries hide from a credential what it may not see by 404: the next one is tried, as the
// kubelet does.
func TestHiddenByNotFound(t *testing.T) {
	h, push := honest(t)
	_, host, c := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch user, _, ok := r.BasicAuth(); {
		case !ok:
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
		case user != "second":
			w.WriteHeader(http.StatusNotFound)
		default:
			h.ServeHTTP(w, r)
		}
	}))
	want := push()
	var creds []keychain.Credential
	for _, user := range []string{"first", "second"} {
		creds = append(creds, keychain.Credential{Auth: authn.AuthConfig{Username: user, Password: "p"}})
	}
	if got, err := get(t, c, host+"/team/app:1", creds...); err != nil || got.Digest != want {
		t.Errorf("Resolve = %v, %v, want %v", got, err, want)
	}
	if _, err := get(t, c, host+"/team/app:1", creds[:1]...); !errors.Is(err, failure.NotFound) {
		t.Errorf("Resolve with the first alone = %v, want not found", err)
	}
}

// tokens is a registry that wants a bearer token of its own endpoint.
func tokens(h http.Handler, user, password string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			if u, p, _ := r.BasicAuth(); u != user || p != password {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			fmt.Fprintf(w, `{"token":%q,"expires_in":300}`, "t-"+r.URL.Query().Get("scope"))
			return
		}
		path := strings.TrimPrefix(r.URL.Path, "/v2/")
		repository, _, _ := strings.Cut(path, "/manifests/")
		if r.Header.Get("Authorization") != "Bearer t-repository:"+repository+":pull" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token",service="s, with a comma"`, r.Host))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func TestRegistryBearer(t *testing.T) {
	h, push := honest(t)
	rec, host, c := start(t, tokens(h, "user", "right"))
	want := push()
	wrong := keychain.Credential{Auth: authn.AuthConfig{Username: "user", Password: "wrong"}}
	right := keychain.Credential{Auth: authn.AuthConfig{Username: "user", Password: "right"}}
	if _, err := get(t, c, host+"/team/app:1", wrong); !errors.Is(err, failure.Unauthorized) {
		t.Errorf("wrong password: %v, want unauthorized", err)
	}
	rec.take()
	got, err := get(t, c, host+"/team/app:1", right)
	if err != nil || got.Digest != want {
		t.Fatalf("Resolve = %v, %v, want %v", got, err, want)
	}
	if asked := rec.take(); len(asked) > 3 {
		t.Errorf("cold: asked %q, want at most 3 requests", asked)
	}
	if _, err := get(t, c, host+"/team/app:1", right); err != nil {
		t.Fatal(err)
	}
	if asked := rec.take(); len(asked) != 1 {
		t.Errorf("known repository: asked %q, want 1 request", asked)
	}
	if got, err := get(t, c, host+"/team/app:1", wrong, right); err != nil || got.Digest != want {
		t.Errorf("the second of two credentials: %v, %v", got, err)
	}
}

func TestNetworkGuard(t *testing.T) {
	rec, host, c := start(t, http.NotFoundHandler())
	c.Network = network.Rules{}
	_, err := get(t, c, host+"/team/app:1")
	if err == nil || len(rec.take()) != 0 {
		t.Errorf("loopback was dialled: %v", err)
	}
	if !strings.HasSuffix(fmt.Sprint(err), "unreachable") {
		t.Errorf("error %q, want no more than unreachable", err)
	}
}

func TestCredentialsReadAgain(t *testing.T) {
	var asked []bool
	kc := keychain.Func(func(_ context.Context, _ ref.Reference, fresh bool) []keychain.Credential {
		asked = append(asked, fresh)
		if fresh {
			return []keychain.Credential{{Auth: authn.AuthConfig{Username: "new"}}}
		}
		return []keychain.Credential{{Auth: authn.AuthConfig{Username: "old"}}}
	})
	next := resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
		if req.Credentials[0].Auth.Username == "old" {
			return resolve.Result{}, failure.Unauthorized
		}
		return resolve.Result{Digest: "sha256:x"}, nil
	})
	got, err := (&resolve.Credentials{Next: next}).Resolve(t.Context(), resolve.Request{Ref: ref.MustParse("a"), Keychain: kc})
	if err != nil || got.Digest != "sha256:x" || len(asked) != 2 {
		t.Errorf("Resolve = %v, %v after %v", got, err, asked)
	}
}

// TestCredentialsLate computes no candidates once the time is over.
func TestCredentialsLate(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	asked := 0
	kc := keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
		asked++
		return nil
	})
	c := &resolve.Credentials{Next: &backend{digest: d("D1")}}
	_, err := c.Resolve(ctx, resolve.Request{Ref: ref.MustParse("a.b/c"), Keychain: kc})
	if !errors.Is(err, failure.Unavailable) || asked != 0 {
		t.Errorf("Resolve: %v, candidates asked for %d times, want unavailable, 0", err, asked)
	}
}
