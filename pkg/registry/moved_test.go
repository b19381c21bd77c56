// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// moved is a registry whose token endpoint was at /old, where old answers now.
type moved struct {
	realm string
	old   http.RoundTripper
}

func (w *moved) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r,
	}
	switch {
	case r.URL.Path == "/old" && w.realm != "/old":
		return w.old.RoundTrip(r)
	case r.URL.Path == w.realm:
		resp.Body = io.NopCloser(strings.NewReader(`{"token":"t"}`))
	case r.Header.Get("Authorization") == "":
		resp.StatusCode = http.StatusUnauthorized
		resp.Header.Set("WWW-Authenticate", `Bearer realm="https://r.example`+w.realm+`"`)
	}
	return resp, nil
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// However a remembered token endpoint fails, the registry is asked where it is now.
func TestRememberedRealmDecidesNothing(t *testing.T) {
	status := func(code int) roundTripper {
		return func(r *http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: code, Header: http.Header{}, Body: http.NoBody, Request: r,
			}, nil
		}
	}
	for name, old := range map[string]roundTripper{
		"400": status(400), "401": status(401), "403": status(403), "404": status(404),
		"429": status(429), "500": status(500), "503": status(503), "no token": status(200),
		"no answer": func(*http.Request) (*http.Response, error) { return nil, errors.New("reset") },
		"hangs": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &Client{}
				_ = c.Init()
				w := &moved{realm: "/old", old: old}
				c.over(w)
				if _, err := c.Head(t.Context(), head("r.example/a:1", "a")); err != nil {
					t.Fatal(err)
				}
				w.realm = "/new"
				if _, err := c.Head(t.Context(), head("r.example/b:1", "b")); err != nil {
					t.Errorf("Manifest = %v, want an answer", err)
				}
				c.state.Close()
			})
		})
	}
}
