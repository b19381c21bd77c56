// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"regexp"
	"slices"
	"strings"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// Mirror is another host that serves a registry's repositories.
type Mirror struct {
	// Host is the host and, if the repositories are below a path there, that path:
	// harbor.internal/docker-hub.
	Host string
	// OverridePath makes the path in Host that of the whole API, in place of /v2.
	OverridePath bool
	// Resolve asks the mirror for tags too, and not only for digests.
	Resolve bool
	// Rewrites change the path of a repository. The first one whose pattern matches counts.
	Rewrites []Rewrite
}

// Rewrite replaces each match of a pattern in the path of a repository. The replacement may have
// submatches of the pattern, such as $1 (regexp.Regexp.Expand).
type Rewrite struct {
	Pattern     *regexp.Regexp
	Replacement string
}

// Route is how a mirror is asked for the repositories of another registry. It is zero for the
// registry itself.
type Route struct {
	API    string // the path of the API; "": /v2
	Source string // the registry that the mirror stands for, sent as ?ns=; "" if it is the same one
}

// rewritten returns the path that a repository has at the mirror.
func (m *Mirror) rewritten(path string) string {
	for _, r := range m.Rewrites {
		if r.Pattern.MatchString(path) {
			return r.Pattern.ReplaceAllString(path, r.Replacement)
		}
	}
	return path
}

// AtMirror returns the reference of an image at a mirror, and how the mirror is asked for it.
func (c *Client) AtMirror(m Mirror, r ref.Reference) (there ref.Reference, route Route, err error) {
	own := c.target(r.Host())
	host, path, hasPath := strings.Cut(m.Host, "/")
	if at := c.find(host); at.address != own.address {
		route.Source = own.source()
	}
	repository := m.rewritten(r.Path())
	switch {
	case m.OverridePath:
		route.API = "/" + path
	case hasPath:
		repository = path + "/" + repository
	}
	if there, err = r.At(host + "/" + repository); err != nil {
		return there, route, failure.Errorf(failure.Invalid,
			"%s: it can't have the repository %s: %w", m.Host, r.Path(), err)
	}
	return there, route, nil
}

// mirrorsOfAll returns the mirrors of all registries, without those that are the registry itself.
func (c *Client) mirrorsOfAll(own address) []Mirror {
	return slices.DeleteFunc(slices.Clone(c.mirrors), func(m Mirror) bool {
		host, _, _ := strings.Cut(m.Host, "/")
		return c.find(host).address == own
	})
}

// source returns the registry's name for mirrors. Only plain HTTP keeps its default port in it: to
// a mirror, a name without a port is that of HTTPS.
func (t *target) source() string {
	if t.address.insecure {
		return network.CanonicalHost(t.Name, false)
	}
	return t.address.host
}
