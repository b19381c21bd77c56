// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// client sends requests to one endpoint, and reports what it got to the witness.
type client struct {
	*endpoint
	at       string // the endpoint's host
	direct   *registry.Client
	resolver resolve.Resolver
}

// client makes a client that knows the endpoint's config and nothing else.
func (e *endpoint) client(t testing.TB) *client {
	t.Helper()
	return e.clientOf(t, &registry.Client{Hosts: []registry.Host{e.host}})
}

func (e *endpoint) clientOf(t testing.TB, c *registry.Client) *client {
	t.Helper()
	c.Network.Rules = network.Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	c.UserAgent = userAgent
	c.Metrics = env.seen.asked
	t.Cleanup(c.Close)
	e.asked() // drop the requests of other clients
	direct := &resolve.Registry{Client: c}
	return &client{
		endpoint: e, at: e.host.Name, direct: c,
		resolver: &resolve.Measured{Next: direct, Metrics: env.seen.lookups, Label: c.Label},
	}
}

// resolve looks up a tag. If tag has a slash or a colon, it is another reference of the registry.
func (c *client) resolve(
	t testing.TB, tag string, credentials ...keychain.Credential,
) (digest.Digest, error) {
	t.Helper()
	result, err := c.resolver.Resolve(t.Context(), c.request(tag, credentials))
	env.seen.err(err)
	if (err == nil) != (result.Digest != "") {
		t.Errorf("Resolve(%s) = %v, %v, want either a digest or an error", tag, result.Digest, err)
	}
	return result.Digest, err
}

func (c *client) request(tag string, credentials []keychain.Credential) resolve.Request {
	text := c.at + "/" + c.repository + ":" + tag
	if strings.ContainsAny(tag, "/:") {
		text = c.at + "/" + tag
	}
	return resolve.Request{Ref: ref.MustParse(text), Credentials: credentials, Fresh: true, Namespace: "team"}
}

// credentials returns the credentials that the endpoint requires.
func (c *client) credentials() []keychain.Credential {
	if c.access.private() {
		return []keychain.Credential{c.right()}
	}
	return nil
}

// want looks up a tag with the credentials that the endpoint requires.
func (c *client) want(t testing.TB, tag string, want digest.Digest) {
	t.Helper()
	c.wantDigest(t, tag, want, c.credentials()...)
}

func (c *client) wantDigest(
	t testing.TB, tag string, want digest.Digest, credentials ...keychain.Credential,
) {
	t.Helper()
	if got, err := c.resolve(t, tag, credentials...); err != nil || got != want {
		t.Errorf("Resolve(%s) = %v, %v, want %v", tag, got, err, want)
	}
}

// wantError looks up a tag, which must fail with an error of a class that contains text.
func (c *client) wantError(
	t testing.TB, tag string, class error, text string, credentials ...keychain.Credential,
) {
	t.Helper()
	_, err := c.resolve(t, tag, credentials...)
	if !errors.Is(err, class) || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("Resolve(%s) = %v, want %q in the class %q", tag, err, text, class)
	}
}
