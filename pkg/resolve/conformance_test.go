// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
)

// layers returns functions that wrap a Resolver in each layer, and in all of them as in the
// webhook. The layers are made before the Resolver that they wrap, so that lookups without a caller
// have ended when that is cleaned up.
func layers(t *testing.T) map[string]func(resolve.Resolver) resolve.Resolver {
	remember := func() func(next resolve.Resolver) resolve.Resolver {
		c := &resolve.Cache{Answers: &resolve.Answers{}, Limits: limits, Client: &registry.Client{}}
		t.Cleanup(c.Answers.Close)
		return func(next resolve.Resolver) resolve.Resolver { c.Next = next; return c }
	}
	credentials := func(next resolve.Resolver) resolve.Resolver {
		return &resolve.Credentials{Next: next}
	}
	measured := func(next resolve.Resolver) resolve.Resolver {
		return &resolve.Measured{Next: next, Metrics: resolve.NewMetrics(prometheus.NewRegistry())}
	}
	limit := func(next resolve.Resolver) resolve.Resolver {
		return &resolve.Limit{Next: next, Places: resolve.Places(0)}
	}
	mirrors := func(next resolve.Resolver) resolve.Resolver {
		return &resolve.Mirrors{Next: next, Client: &registry.Client{}}
	}
	remembered := remember()
	return map[string]func(resolve.Resolver) resolve.Resolver{
		"alone":       func(next resolve.Resolver) resolve.Resolver { return next },
		"Func":        func(next resolve.Resolver) resolve.Resolver { return resolve.Func(next.Resolve) },
		"Cache":       remember(),
		"Credentials": credentials,
		"Measured":    measured,
		"Limit":       limit,
		"Mirrors":     mirrors,
		"together": func(next resolve.Resolver) resolve.Resolver {
			return measured(mirrors(credentials(remembered(limit(next)))))
		},
	}
}

// fakeSubject returns a fake with an answer of each class.
func fakeSubject(t *testing.T) resolvetest.Subject {
	f := &resolvetest.Fake{}
	s := resolvetest.Subject{
		Resolver: f, Image: ref.MustParse("image"), Hangs: ref.MustParse("hangs"),
		NotFound: ref.MustParse("missing"), Unauthorized: ref.MustParse("denied"), Unavailable: ref.MustParse("down"), Invalid: ref.MustParse("broken"),
	}
	moved := 0
	s.Move = func() digest.Digest {
		moved++
		d := resolvetest.Digest(strconv.Itoa(moved))
		f.Set("image", d)
		return d
	}
	f.Fail("denied", failure.Unauthorized)
	f.Fail("down", failure.Unavailable)
	f.Fail("broken", failure.Invalid)
	t.Cleanup(f.Hold("hangs", resolvetest.Digest("late")))
	return s
}

// registrySubject returns a registry in memory with an answer of each class.
func registrySubject(t *testing.T) resolvetest.Subject {
	h, push := honest(t)
	over := make(chan struct{})
	host, client := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch repository, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/"); repository {
		case "denied":
			w.WriteHeader(http.StatusUnauthorized)
		case "down":
			w.WriteHeader(http.StatusInternalServerError)
		case "broken":
			w.Header().Set("Content-Type", "text/html")
		case "hangs":
			select {
			case <-r.Context().Done():
			case <-over:
			}
		default:
			h.ServeHTTP(w, r)
		}
	}))
	client.Hosts = []registry.Host{{Name: "*", RequestsPerSecond: 1e6, MaxInFlight: 100}}
	t.Cleanup(func() { close(over) })
	in := func(repository string) ref.Reference { return ref.MustParse(host + "/" + repository) }
	return resolvetest.Subject{
		Resolver: &resolve.Registry{Client: client}, Image: in("team/app:1"), Move: push, Hangs: in("hangs"),
		NotFound: in("missing"), Unauthorized: in("denied"), Unavailable: in("down"), Invalid: in("broken"),
	}
}

// TestConformance tests each layer with the fake, and a registry without and with all layers.
func TestConformance(t *testing.T) {
	try := func(name string, open func(*testing.T) resolvetest.Subject) func(*testing.T) {
		return func(t *testing.T) {
			resolvetest.Conformance(t, func(t *testing.T) resolvetest.Subject {
				wrap := layers(t)[name]
				s := open(t)
				s.Resolver = wrap(s.Resolver)
				return s
			})
		}
	}
	for name := range layers(t) {
		t.Run(name+" over fake", try(name, fakeSubject))
	}
	for _, name := range []string{"alone", "together"} {
		t.Run(name+" over registry", try(name, registrySubject))
	}
}
