// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"crypto/tls"
	"net/http"
	"testing"
)

// front is a proxy before a registry, together with the requests that tagpin makes there.
type front struct {
	name       string
	hideDigest bool // the digest is removed from the headers
	headStatus int  // if not 0, the status of each HEAD request
	// The first requests of a client to a registry that asks for nothing, and to another one, and then
	// the requests of another lookup.
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
	first := asked{Manifests: f.open}
	if a.private() || a.tokens() {
		first.Manifests = f.private
	}
	if a.tokens() {
		first.Tokens = []string{"200"}
	}
	return first
}

// proxy returns a proxy that passes requests on to a registry.
func (f front) proxy(before *endpoint) http.Handler {
	proxy := passOn(before.url(), &http.Transport{
		DisableKeepAlives: true, DisableCompression: true,
		TLSClientConfig: &tls.Config{RootCAs: env.ca.Pool(), MinVersion: tls.VersionTLS12},
	})
	proxy.ModifyResponse = func(r *http.Response) error {
		if f.hideDigest {
			r.Header.Del("Docker-Content-Digest")
		}
		return nil
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
		r := &recorder{handler: f.proxy(e)}
		address := newServer(t, newLeaf(t, e.access), r).Listener.Addr().String()
		env.seen.belongs(address, e.owner)
		through := *e
		through.host = newHost(address, e.access)
		// The realm is still at the registry itself, or wherever the registry says.
		through.host.AuthHosts = append([]string{e.host.Name}, e.host.AuthHosts...)
		through.asked = func() asked {
			here, before := r.take(), e.asked()
			if len(here.Tokens) == 0 {
				here.Tokens = before.Tokens
			}
			return here
		}
		all = append(all, &through)
	}
	return all
}
