// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"
)

// front is a proxy before a registry, together with the requests that tagpin makes there.
type front struct {
	name       string
	hideDigest bool // the digest is removed from the headers
	headStatus int  // if not 0, the status of each HEAD request
	// The first requests of a client to an open and to a private registry, and then the requests of
	// another lookup.
	open, private, again []string
}

var fronts = []front{
	{
		name:    "direct",
		open:    []string{"HEAD 200"},
		private: []string{"HEAD 401", "HEAD 200"},
		again:   []string{"HEAD 200"},
	},
	{
		name:       "no digest header",
		hideDigest: true,
		open:       []string{"HEAD 200", "GET 200"},
		private:    []string{"HEAD 401", "HEAD 200", "GET 200"},
		again:      []string{"HEAD 200", "GET 200"},
	},
	{
		name:       "HEAD refused",
		headStatus: http.StatusMethodNotAllowed,
		open:       []string{"HEAD 405", "GET 200"},
		private:    []string{"HEAD 405", "GET 401", "GET 200"},
		again:      []string{"GET 200"}, // the client remembers that HEAD is of no use
	},
	{
		name:       "HEAD hidden",
		headStatus: http.StatusNotFound,
		open:       []string{"HEAD 404", "GET 200"},
		private:    []string{"HEAD 404", "GET 401", "GET 200"},
		again:      []string{"HEAD 404", "GET 200"},
	},
}

// first returns the first requests of a client.
func (f front) first(a access) asked {
	switch a {
	case basic:
		return asked{Manifests: f.private}
	case bearer:
		return asked{Manifests: f.private, Tokens: []string{"200"}}
	case plain, secure:
	}
	return asked{Manifests: f.open}
}

// proxy returns a proxy that passes requests on to a registry.
func (f front) proxy(t testing.TB, before *endpoint) http.Handler {
	t.Helper()
	target, err := url.Parse(before.url())
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true,
			TLSClientConfig: &tls.Config{RootCAs: env.ca.Pool(), MinVersion: tls.VersionTLS12},
		},
		ModifyResponse: func(r *http.Response) error {
			if f.hideDigest {
				r.Header.Del("Docker-Content-Digest")
			}
			return nil
		},
		ErrorLog: log.New(io.Discard, "", 0), // some tests kill the registry
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.headStatus != 0 && r.Method == http.MethodHead {
			w.WriteHeader(f.headStatus)
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

// behind returns an endpoint for each front of a registry.
func behind(t testing.TB, e *endpoint) []*endpoint {
	t.Helper()
	all := []*endpoint{e}
	for _, f := range fronts[1:] {
		r := &recorder{handler: f.proxy(t, e)}
		address := newServer(t, newLeaf(t, e.access), r).Listener.Addr().String()
		through := &endpoint{
			host: newHost(address, e.access), access: e.access, realm: e.realm, kill: e.kill,
		}
		// The realm is still at the registry itself, or wherever the registry says.
		through.host.AuthHosts = append([]string{e.host.Name}, e.host.AuthHosts...)
		through.asked = func() asked {
			return asked{Manifests: r.take().Manifests, Tokens: e.asked().Tokens}
		}
		all = append(all, through)
	}
	return all
}
