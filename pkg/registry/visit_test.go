// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// busyHost is a host that other registries lead to. It answers after a while, and records how many
// requests it had at the same time.
type busyHost struct {
	mu        sync.Mutex
	now, most int
	status    int
}

func (b *busyHost) serve(w http.ResponseWriter) {
	b.mu.Lock()
	b.now++
	b.most = max(b.most, b.now)
	b.mu.Unlock()
	time.Sleep(100 * time.Millisecond)
	b.mu.Lock()
	b.now--
	b.mu.Unlock()
	w.WriteHeader(b.status)
	_, _ = w.Write([]byte(`{"token":"t"}`))
}

// TestOtherHostsHaveTheirBounds checks that requests to which other registries lead tagpin have the
// same bounds as those to the host itself.
func TestOtherHostsHaveTheirBounds(t *testing.T) {
	for name, lead := range map[string]handler{
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://busy.example"+r.URL.Path, http.StatusTemporaryRedirect)
		},
		"a redirect to a file": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://busy.example/file", http.StatusTemporaryRedirect)
		},
		"a token realm": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				w.Header().Set("WWW-Authenticate", `Bearer realm="https://busy.example/token"`)
				w.WriteHeader(http.StatusUnauthorized)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				busy := &busyHost{status: http.StatusOK}
				c := over(handler(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Host == "busy.example" {
						busy.serve(w)
						return
					}
					lead(w, r)
				}), Host{Name: "busy.example", MaxInFlight: 4})
				var wg sync.WaitGroup
				for i := range 20 {
					wg.Go(func() {
						if _, err := c.Head(t.Context(), head(fmt.Sprintf("r%d.example/app:1", i), "a")); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if busy.most != 2 { // a namespace has half
					t.Errorf("%d requests at a time, want 2", busy.most)
				}
			})
		})
	}
}

// TestLimitsOfOtherHosts checks that a 429 to a request that was redirected counts for the host
// that has sent it, if its manifest was asked for, and that a gate there holds for redirects too.
func TestLimitsOfOtherHosts(t *testing.T) {
	for path, open := range map[string]bool{
		"/v2/lib/app/manifests/1": false, "/v2/lib/app/manifests/1?query": true, "/file": true,
	} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			c := over(handler(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Host == "busy.example" {
					asked++
					w.WriteHeader(http.StatusTooManyRequests)
					return
				}
				http.Redirect(w, r, "https://busy.example"+path, http.StatusFound)
			}))
			for i := range 6 {
				_, err := c.Head(t.Context(), head("r.example/"+strings.Repeat("x", 1+i)+"/app:1", "a"))
				if err == nil || !strings.Contains(err.Error(), "r.example (redirected to busy.example): 429") {
					t.Errorf("Head = %v, want the redirect and 429", err)
				}
			}
			if open && asked != 6 || !open && asked != 1 {
				t.Errorf("%s: %d requests", path, asked)
			}
			err := closed(c.gates, c.one(head("busy.example/lib/any:1", "b")).gates())
			if (err == nil) != open || !open && !strings.HasPrefix(err.Error(), "busy.example: 429") {
				t.Errorf("%s: gates of busy.example: %v, want them open: %t", path, err, open)
			}
			c.check(t, "r.example/any:1", "b", true)
		})
	}
}

// TestWaitElsewhereIsOfNamespace checks that the failure of a lookup that has waited at another
// host for the turn of its namespace is not one of other namespaces.
func TestWaitElsewhereIsOfNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := over(handler(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Host == "busy.example" {
				<-r.Context().Done()
				return
			}
			http.Redirect(w, r, "https://busy.example"+r.URL.Path, http.StatusFound)
		}), Host{Name: "busy.example", MaxInFlight: 1, Timeout: time.Minute})
		go func() { _, _ = c.Head(t.Context(), head("busy.example/app:1", "a")) }()
		synctest.Wait()
		_, err := c.Head(t.Context(), head("r.example/app:1", "a"))
		e := asError(err)
		if e == nil || !e.ofNamespace || e.evidence != 0 || e.Class() != failure.Unavailable {
			t.Errorf("Head = %#v, want an outage of the namespace", err)
		}
		c.check(t, "r.example/app:1", "a", true)
	})
}

// TestNoWayBack checks that the answer of a registry, to which another host has led a request back,
// is not taken for one of that host.
func TestNoWayBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := over(handler(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Host == "honest.example":
				http.Redirect(w, r, "https://r.example/back", http.StatusFound)
			case r.URL.Path == "/back":
				w.WriteHeader(http.StatusServiceUnavailable)
			default:
				http.Redirect(w, r, "https://honest.example"+r.URL.Path, http.StatusFound)
			}
		}))
		for i := range 3 {
			_, err := c.Head(t.Context(), head(fmt.Sprintf("r.example/lib%d/app:1", i), "a"))
			if err == nil || !strings.Contains(err.Error(), "r.example (redirected to r.example): 503") {
				t.Errorf("Head = %v, want 503 from r.example", err)
			}
		}
		c.check(t, "honest.example/lib0/app:1", "b", true)
	})
}

// TestRedirectWithEndlessBody checks that a registry whose redirect has a body without end does not
// hold what is shared at the host that it redirects to.
func TestRedirectWithEndlessBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := over(roundTripper(func(r *http.Request) (*http.Response, error) {
			resp := &http.Response{
				StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r,
			}
			if r.URL.Host == "r.example" {
				resp.StatusCode = http.StatusTemporaryRedirect
				resp.Body, _ = io.Pipe()
				resp.Header.Set("Location", "https://busy.example/v2/app/manifests/1")
			}
			return resp, nil
		}), Host{Name: "busy.example", MaxInFlight: 1})
		begin := time.Now()
		if _, err := c.Head(t.Context(), head("r.example/app:1", "a")); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d > drainTime {
			t.Errorf("it took %v, want at most %v", d, drainTime)
		}
	})
}

// TestVisitsOpenGates checks that an answer to a redirected request for a manifest opens gates at
// the other host whose time is over, as an answer to a direct one does.
func TestVisitsOpenGates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := http.StatusTooManyRequests
		c := over(handler(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Host == "busy.example" {
				w.WriteHeader(status)
				return
			}
			http.Redirect(w, r, "https://busy.example"+r.URL.Path, http.StatusFound)
		}))
		ask := func() { _, _ = c.Head(t.Context(), head("r.example/lib/app:1", "a")) }
		ask()
		c.check(t, "busy.example/lib/any:1", "b", false)
		c.check(t, "busy.example/any:1", "b", true)
		time.Sleep(limited.first)
		status = http.StatusOK
		ask()
		status = http.StatusTooManyRequests
		ask()
		time.Sleep(limited.first)
		c.check(t, "busy.example/lib/any:1", "b", true) // it was the first 429 in a row
	})
}

// TestRememberedOpensNothing checks that a redirect to a host that must not be asked now does not
// open the gate of the repository that has redirected.
func TestRememberedOpensNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := "/file"
		c := over(handler(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Host != "busy.example":
				http.Redirect(w, r, "https://busy.example"+to, http.StatusFound)
			case r.URL.Path == "/file":
				w.WriteHeader(http.StatusServiceUnavailable)
			default:
				w.Header().Set("Retry-After", "300")
				w.WriteHeader(http.StatusTooManyRequests)
			}
		}))
		ask := func(image string) { _, _ = c.Head(t.Context(), head(image, "a")) }
		ask("r.example/app:1")
		ask("busy.example/app:1")
		to = "/v2/app/manifests/1"
		time.Sleep(unreachable.first)
		_, err := c.Head(t.Context(), head("r.example/app:1", "a"))
		if e := asError(err); e == nil || !e.remembered || e.via == "" {
			t.Fatalf("Head = %v, want the remembered refusal of busy.example", err)
		}
		if !c.gates.has(c.one(head("r.example/app:1", "a")).gate(ofRepository)) {
			t.Error("the gate of r.example/app is open, although nobody has answered")
		}
	})
}

// TestRedirectsBackOff checks that a repository that redirects to a host which can't be reached is
// asked less and less often.
func TestRedirectsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := over(handler(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Host == "dead.example" {
				panic("reset")
			}
			asked++
			http.Redirect(w, r, "https://dead.example"+r.URL.Path, http.StatusFound)
		}))
		for range 300 {
			_, _ = c.Head(t.Context(), head("r.example/app:1", "a"))
			time.Sleep(time.Second)
		}
		if asked > 30 {
			t.Errorf("the repository was asked %d times in 300 s, want at most 30", asked)
		}
	})
}

// TestOtherPortOfMirror checks that a redirect to the mirror's own host by another scheme, or to no
// host, closes no gate of the mirror and gets no credential.
func TestOtherPortOfMirror(t *testing.T) {
	for _, location := range []string{
		"https://mirror.example:5000/v2/app/manifests/1", "https:///v2/app", "https://./v2/app",
	} {
		synctest.Test(t, func(t *testing.T) {
			c := over(roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Scheme == "https" {
					if r.Header.Get("Authorization") != "" {
						t.Error("the other port got the credential")
					}
					httptrace.ContextClientTrace(r.Context()).GetConn(r.URL.Host) // and no connection
					return nil, errReset
				}
				resp := &http.Response{
					StatusCode: http.StatusTemporaryRedirect, Header: http.Header{"Location": {location}},
					Body: http.NoBody, Request: r,
				}
				return resp, nil
			}), Host{Name: "mirror.example:5000", Insecure: true})
			req := head("mirror.example:5000/app:1", "a")
			auth := authn.AuthConfig{Username: "u", Password: "canary"}
			req.Credentials = []keychain.Credential{{Auth: auth}}
			if _, err := c.Head(t.Context(), req); err == nil {
				t.Errorf("%s: Head = nil, want an error", location)
			}
			c.check(t, "mirror.example:5000/other:1", "b", true)
		})
	}
}

// TestRedirectNotInASCII checks that an error says what is wrong with a host that is not in ASCII,
// and does not quote it.
func TestRedirectNotInASCII(t *testing.T) {
	const says = "a host that is not in ASCII; it has to be written in Punycode"
	for _, host := range []string{"ｂ.example", "%E2%80%AEb.example", "b.example%C2%9B2J"} {
		for name, lead := range map[string]handler{
			"redirect to ": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "https://"+host+"/v2/app")
				w.WriteHeader(http.StatusFound)
			},
			"its token realm is on ": withToken("https://"+host+"/token", nil),
			"token realm r.example redirects to ": func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/token" {
					w.Header().Set("Location", "https://"+host+"/")
					w.WriteHeader(http.StatusFound)
					return
				}
				withToken("https://r.example/token", nil)(w, r)
			},
		} {
			_, err := over(lead).Head(t.Context(), head("r.example/app:1", "a"))
			want := "r.example: " + name + says
			if err == nil || err.Error() != want {
				t.Errorf("%q: Head = %v, want %s", host, err, want)
			}
		}
	}
}

// TestLateTurnElsewhere checks that a request that had its turn at another host too late closes no
// gate of the repository, and is a failure of its namespace alone. While it waits for that turn,
// others may try the repository.
func TestLateTurnElsewhere(t *testing.T) {
	for name, lead := range map[string]handler{
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://busy.example"+r.URL.Path, http.StatusFound)
		},
		"a challenge after a redirect": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Host == "busy.example" {
				withToken("https://busy.example/token", nil)(w, r)
				return
			}
			http.Redirect(w, r, "https://busy.example"+r.URL.Path, http.StatusFound)
		},
		"a token endpoint": withToken("https://busy.example/token", nil),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := over(handler(func(w http.ResponseWriter, r *http.Request) {
					switch {
					case strings.HasPrefix(r.URL.Path, "/v2/hold"):
						time.Sleep(4500 * time.Millisecond)
					case r.URL.Host == "busy.example" &&
						(name == "a redirect" || r.Header.Get("Authorization") != "" || r.URL.Path == "/token"):
						<-r.Context().Done()
					default:
						lead(w, r)
					}
				}), Host{Name: "busy.example", MaxInFlight: 2}) // one for each namespace
				image := head("r.example/app:1", "a")
				c.one(image).judge(&requestError{evidence: network.Broken})
				time.Sleep(unreachable.first)
				go func() { _, _ = c.Head(t.Context(), head("busy.example/hold:1", "a")) }()
				synctest.Wait()
				done := make(chan error, 1)
				go func() { _, err := c.Head(t.Context(), image); done <- err }()
				synctest.Wait()
				taken, trying, err := c.gates.pass(c.one(image).gates(), true)
				if trying != nil || err != nil {
					t.Errorf("gates: %v, %v, want that others may try them", trying, err)
				}
				c.gates.done(taken, false)
				err = <-done
				if !errors.Is(err, ErrNoAnswer) || !errors.Is(err, ErrOfNamespace) {
					t.Errorf("Head = %v, want no answer, for this namespace", err)
				}
				c.check(t, "r.example/app:1", "b", true)
				c.Learned.Close()
			})
		})
	}
}

// slots returns the queue for the slots of an image's registry.
func slots(image string) func(*Client) *fair.Queue {
	return func(c *Client) *fair.Queue {
		l := c.one(head(image, "a"))
		used, _ := c.limiters.use(limiterKey{l.server(), l.MaxInFlight, l.RequestsPerSecond}, "")
		return &used.slots
	}
}

// TestGoesOnWithoutToken checks that a lookup says that it goes on if its turn at a token endpoint
// did not come in its part of the time, so that the answer to it is for all namespaces.
func TestGoesOnWithoutToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := false
		challenged := withToken("https://busy.example/token", nil)
		c := over(handler(func(w http.ResponseWriter, r *http.Request) {
			if open {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			challenged(w, r)
		}), Host{Name: "busy.example", MaxInFlight: 1})
		if _, err := c.Head(t.Context(), head("r.example/app:1", "a")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(challengeLifetime / 2)
		c.tokens.Remove(c.one(head("r.example/app:1", "a")).tokenKey())
		open = true
		leave, err := slots("busy.example/app:1")(c).Enter(t.Context(), "a", 1)
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		var ends []bool
		req := head("r.example/app:1", "a")
		req.OnWait = func() func(bool) { return func(goesOn bool) { ends = append(ends, goesOn) } }
		_, err = c.Head(t.Context(), req)
		if e := asError(err); e == nil || e.status != http.StatusNotFound {
			t.Errorf("Head = %v, want 404", err)
		}
		if !slices.Equal(ends, []bool{true}) {
			t.Errorf("the waits have ended with %v, want one, after which the lookup goes on", ends)
		}
		c.Learned.Close()
	})
}

// TestOnWait checks that a lookup tells each wait for a turn of its namespace, and only waits.
func TestOnWait(t *testing.T) {
	digestless := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
		if r.Method == http.MethodGet {
			_, _ = w.Write(append([]byte(`{"config":{}}`), bytes.Repeat([]byte(" "), freeBody)...))
		}
	}
	to := func(path string) handler {
		return func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://busy.example"+path, http.StatusFound)
		}
	}
	challenged := withToken("https://busy.example/token", digestless)
	for name, tt := range map[string]struct {
		lead  handler
		busy  func(c *Client) *fair.Queue // where the namespace has to wait
		after bool                        // after Begin
	}{
		"the registry": {digestless, slots("r.example/app:1"), false},
		"a GET":        {digestless, func(c *Client) *fair.Queue { return c.Gets }, true},
		"room":         {digestless, func(c *Client) *fair.Queue { return c.Manifests }, true},
		"a redirect":   {to("/v2/app/manifests/1"), slots("busy.example/app:1"), true},
		"a token":      {challenged, slots("busy.example/app:1"), true},
	} {
		for _, isBusy := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%t", name, isBusy), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := over(handler(func(w http.ResponseWriter, r *http.Request) {
						switch {
						case r.URL.Path == "/token":
							_, _ = w.Write([]byte(`{"token":"t"}`))
						case r.URL.Host == "busy.example":
							digestless(w, r)
						default:
							tt.lead(w, r)
						}
					}), Host{Name: "*", MaxInFlight: 1, RequestsPerSecond: 1000})
					c.Gets = &fair.Queue{Capacity: 1}
					c.Manifests = &fair.Queue{Capacity: MaxManifest}
					q := tt.busy(c)
					leave := func() {}
					if isBusy {
						leave, _ = q.Enter(t.Context(), "a", q.Capacity)
					}
					begun, waits, ended := false, []bool{}, 0
					req := head("r.example/app:1", "a")
					req.Begin = func() error { begun = true; return nil }
					req.OnWait = func() func(bool) {
						waits = append(waits, begun)
						return func(bool) { ended++ }
					}
					done := make(chan error, 1)
					go func() { _, err := c.Digest(t.Context(), req); done <- err }()
					synctest.Wait()
					leave()
					if err := <-done; err != nil {
						t.Error(err)
					}
					var want []bool
					if isBusy {
						want = []bool{tt.after}
					}
					if !slices.Equal(waits, want) || ended != len(want) {
						t.Errorf("waits after Begin: %v, of which %d ended; want %v", waits, ended, want)
					}
					c.Learned.Close()
				})
			})
		}
	}
}
