// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"errors"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/e2e/pki"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// TestCertificates has certificates that must not be trusted. What is wrong is reported only for
// hosts that the config names, and no request is made.
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
		{"unknown CA", other.Issue, "its TLS certificate is signed by an unknown authority"},
	}
	store := newGGCR(t)
	digests, _ := fill(t, store)
	serve := func(t *testing.T, leaf *pki.Leaf) (named, foreign *client, r *recorder) {
		r = &recorder{handler: store.(*inMemory).handler}
		address := newServer(t, leaf, r).Listener.Addr().String()
		e := newEndpoint(t, secure)
		e.host, e.asked = newHost(address, secure), r.take
		env.seen.belongs(address, e.owner)
		trusting := &registry.Client{Network: network.Network{Roots: env.ca.Pool()}}
		return e.client(t), e.clientOf(t, trusting), r
	}
	const tag = "oci-index"
	named, foreign, _ := serve(t, newLeaf(t, secure)) // a good certificate, for comparison
	named.want(t, tag, digests[tag])
	foreign.want(t, tag, digests[tag])
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			leaf, err := tt.issue()
			if err != nil {
				t.Fatal(err)
			}
			named, foreign, r := serve(t, leaf)
			named.wantOnly(t, named.at+": "+tt.want)
			foreign.wantOnly(t, foreign.at+": unreachable")
			if diff := cmp.Diff(asked{}, r.take()); diff != "" {
				t.Errorf("requests, -want +got:\n%s", diff)
			}
		})
	}
}

// wantOnly looks up an index with a credential, which must fail as unavailable with exactly the
// given text.
func (c *client) wantOnly(t testing.TB, text string) {
	t.Helper()
	if _, err := c.resolve(t, "oci-index", c.right()); !errors.Is(err, failure.Unavailable) || err.Error() != text {
		t.Errorf("Resolve = %v, want %q in the class %q", err, text, failure.Unavailable)
	}
}

// TestNeverPlain has registries with plain HTTP, also on loopback, that the config does not allow.
// They get nothing but the beginning of a TLS handshake.
func TestNeverPlain(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			_, at := fill(t, k.newStore(t))
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
					named := registry.Host{Name: host, TLS: network.TLSFiles{CA: rootsFile()}, Verify: verify}
					e := *at
					e.host = named
					e.client(t).wantOnly(t, host+": it does not speak TLS")
					all := registry.Host{Name: "*", Verify: verify}
					e.clientOf(t, &registry.Client{Hosts: []registry.Host{all}}).wantOnly(t, host+": unreachable")
				}
				wantAsked(t, host, at, asked{})
			}
			tap.wantTLS(t)
		})
	}
}
