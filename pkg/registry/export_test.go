// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"net/http"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// one returns the lookup of a request with its first credential, or without one.
func (c *Client) one(req Request) *lookup {
	_ = c.Init()
	var first keychain.Credential
	if len(req.Credentials) > 0 {
		first = req.Credentials[0]
	}
	return c.lookup(req, first, new(slot))
}

// Head makes one HEAD request with the first credential, whatever the manifest is.
func (c *Client) Head(ctx context.Context, req Request) (*Manifest, error) {
	if err := c.Init(); err != nil {
		return nil, err
	}
	l := c.one(req)
	defer l.slot.leave()
	return l.request(ctx, http.MethodHead)
}

// over has all requests go to a transport.
func (c *Client) over(t http.RoundTripper) {
	_ = c.Init()
	c.others.transport = t
	for at, named := range c.named {
		named.transport = t
		c.named[at] = named
	}
}

// head returns a request of a namespace.
func head(image, namespace string) Request {
	return Request{Ref: ref.MustParse(image), Namespace: namespace}
}
