// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"errors"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/e2e/pki"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// TestCertificates meets certificates that must not be trusted: what is wrong with them is told of hosts that the config
// names alone, and no request is made.
func TestCertificates(t *testing.T) {
	other, err := pki.New()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		issue func() (*pki.Leaf, error)
		want  string
	}{
		{"expired", env.ca.IssueExpired, "its TLS certificate has expired or is not yet valid"},
		{"other host", func() (*pki.Leaf, error) { return env.ca.IssueFor("registry.example") }, "its TLS certificate is for another host"},
		{"unknown CA", other.Issue, "its TLS certificate is signed by an unknown authority; see caFile"},
	}
	digests, at := fill(t, newGGCR(t))
	sites := []site{{leaf: newLeaf(t), before: at}}
	for _, tt := range tests {
		leaf, err := tt.issue()
		if err != nil {
			t.Fatal(err)
		}
		sites = append(sites, site{leaf: leaf, before: at})
	}
	n := startNginx(t, sites...)
	clients := func(t *testing.T, i int) (named, foreign *client) {
		e := &endpoint{host: newHost(n.addresses[i], secure), access: secure, asked: func() asked { return n.asked(t) }}
		return e.client(t), e.clientOf(t, &registry.Client{RootCAs: env.ca.Pool()})
	}
	const tag = "oci-index"
	named, foreign := clients(t, 0) // else nothing would be shown by what follows
	named.want(t, tag, digests[tag])
	foreign.want(t, tag, digests[tag])
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			named, foreign := clients(t, i+1)
			named.wantOnly(t, named.at+": "+tt.want)
			foreign.wantOnly(t, foreign.at+": unreachable")
			if diff := cmp.Diff(asked{}, n.asked(t)); diff != "" {
				t.Errorf("asked, -want +got:\n%s", diff)
			}
		})
	}
}

// wantOnly looks up an index with a credential, which has to fail as unavailable with a text and no more.
func (c *client) wantOnly(t testing.TB, text string) {
	t.Helper()
	if _, err := c.resolve(t, "oci-index", right()); !errors.Is(err, resolve.ErrUnavailable) || err.Error() != text {
		t.Errorf("Resolve = %v, want %q in the class %q", err, text, resolve.ErrUnavailable)
	}
}

// TestNeverPlain asks registries that speak plain HTTP, on loopback too, where the config does not say that it is
// allowed: nothing is sent to them but the beginning of TLS.
func TestNeverPlain(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			_, at := fill(t, newStore(t))
			_, port, err := net.SplitHostPort(at.host.Name)
			if err != nil {
				t.Fatal(err)
			}
			tap := startTap(t, at.host.Name)
			_, tapPort, err := net.SplitHostPort(tap.address)
			if err != nil {
				t.Fatal(err)
			}
			for _, host := range []string{at.host.Name, "localhost:" + port, tap.address, "localhost:" + tapPort} {
				for _, verify := range []bool{false, true} {
					e := &endpoint{host: registry.Host{Name: host, CAFile: rootsFile(), Verify: verify}, asked: at.asked}
					e.client(t).wantOnly(t, host+": it does not speak TLS; see insecure")
					all := registry.Host{Name: "*", Verify: verify}
					e.clientOf(t, &registry.Client{Hosts: []registry.Host{all}}).wantOnly(t, host+": unreachable")
				}
				wantAsked(t, host, at, asked{})
			}
			tap.wantTLS(t)
		})
	}
}
