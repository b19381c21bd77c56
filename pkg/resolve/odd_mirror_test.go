// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"net/http"
	"regexp"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
)

// mirroring returns a registry that can't be reached, with mirrors that are asked for tags.
func mirroring(host string, mirrors ...registry.Mirror) []registry.Host {
	for i := range mirrors {
		mirrors[i].Resolve = true
	}
	return []registry.Host{{Name: host, Mirrors: mirrors}}
}

// below returns a mirror whose API is at a path.
func below(path string) registry.Mirror {
	return registry.Mirror{Host: "{registry}" + path, OverridePath: true}
}

// rewriting returns a mirror that rewrites paths, by pairs of a pattern and a replacement.
func rewriting(pairs ...string) registry.Mirror {
	m := registry.Mirror{Host: "{registry}"}
	for i := 0; i < len(pairs); i += 2 {
		pattern := regexp.MustCompile(pairs[i])
		m.Rewrites = append(m.Rewrites, registry.Rewrite{Pattern: pattern, Replacement: pairs[i+1]})
	}
	return m
}

// scoped returns a registry that gives tokens of its own realm, and challenges for a scope.
func scoped(scope string) rules {
	return rules{own: {{On: "token", As: "u", Then: registrytest.Token}, {As: "u", Then: registrytest.Image}, {Then: registrytest.Challenged(`Bearer realm="https://{registry}/token",scope="` + scope + `"`)}}}
}

const source = "source.invalid/app:1"

var here = registry.Mirror{Host: "{registry}"}

// mirrorCases are about mirrors: how they are asked, and for what.
var mirrorCases = []registrytest.Case{
	{Name: "R53 the API below a path", Image: source, More: mirroring("source.invalid", below("/api/docker/hub/v2")), Rules: rules{own: {{On: "/api/docker/hub/v2/app", Then: registrytest.Image}}}, Asked: []string{"HEAD /api/docker/hub/v2/app:1?ns=source.invalid"}, Want: registrytest.ImageBody},
	{Name: "R53 the API at the root", Image: source, More: mirroring("source.invalid", below("")), Rules: rules{own: {{On: "/app", Then: registrytest.Image}}}, Asked: []string{"HEAD /app:1?ns=source.invalid"}, Want: registrytest.ImageBody},
	{
		Name: "R53 a token for the mirror's own name of the repository", Image: source, More: mirroring("source.invalid", below("/v2/hub")), Rules: scoped("repository:hub/app:pull"), Credentials: registrytest.Users("u"),
		Asked: []string{"HEAD hub/app:1?ns=source.invalid", "GET token:hub/app:pull Basic u", "HEAD hub/app:1?ns=source.invalid Bearer u"}, Want: registrytest.ImageBody,
	},
	{
		Name: "R53 the same name", Image: source, More: mirroring("source.invalid", below("/hub/v2")), Rules: scoped("registry:catalog:* repository:app:pull,push"), Credentials: registrytest.Users("u"),
		Asked: []string{"HEAD /hub/v2/app:1?ns=source.invalid", "GET token:app:pull Basic u", "HEAD /hub/v2/app:1?ns=source.invalid Bearer u"}, Want: registrytest.ImageBody,
	},
	{
		Name: "R53 no token for another repository", Image: source, More: mirroring("source.invalid", below("/hub/v2")), Rules: scoped("repository:secret:pull repository:the-app:pull"), Credentials: registrytest.Users("u"),
		Asked: []string{"HEAD /hub/v2/app:1?ns=source.invalid", "GET token:app:pull Basic u", "HEAD /hub/v2/app:1?ns=source.invalid Bearer u"}, Want: registrytest.ImageBody,
	},
	{
		Name: "R53 without a path of the API, tagpin's own scope", Image: source, More: mirroring("source.invalid", here), Rules: scoped("repository:hub/app:pull"), Credentials: registrytest.Users("u"),
		Asked: []string{"HEAD app:1?ns=source.invalid", "GET token:app:pull Basic u", "HEAD app:1?ns=source.invalid Bearer u"}, Want: registrytest.ImageBody,
	},
	{Name: "R54 the registry's name", Image: "source.invalid:5000/app:1", More: mirroring("source.invalid:5000", here), Rules: registrytest.Always(registrytest.Image), Asked: []string{"HEAD app:1?ns=source.invalid:5000"}, Want: registrytest.ImageBody},
	{Name: "R54 Docker Hub's name", Image: "registry-1.docker.io/library/app:1", More: mirroring("docker.io", here), Rules: registrytest.Always(registrytest.Image), Asked: []string{"HEAD library/app:1?ns=docker.io"}, Want: registrytest.ImageBody},
	{
		Name: "R54 for the manifest and the challenge, but not for a token", Image: source, More: mirroring("source.invalid", here), Credentials: registrytest.Users("u"), Want: registrytest.ImageBody,
		Rules: rules{own: {{On: "token", As: "u", Then: registrytest.Token}, {As: "u", Then: registrytest.Image}, {On: "/v2/?ns=source.invalid", Then: registrytest.Challenge}, {Then: answer{Status: http.StatusNotFound}}}},
		Asked: []string{"HEAD app:1?ns=source.invalid", "GET app:1?ns=source.invalid", "GET /v2/?ns=source.invalid", "GET token:app:pull Basic u", "GET app:1?ns=source.invalid Bearer u"},
	},
	{Name: "R54 not for the registry itself", Host: registry.Host{Mirrors: []registry.Mirror{{Host: "{registry}/cache", Resolve: true}}}, Rules: rules{own: {{On: "app", Then: registrytest.Image}}}, Asked: []string{"HEAD cache/app:1", "GET cache/app:1", "HEAD app:1"}, Want: registrytest.ImageBody},
	{
		Name: "R54 not for another registry that it redirects to", Image: source, More: mirroring("source.invalid", here), Want: registrytest.ImageBody,
		Rules: registrytest.Moved(registrytest.Token), Credentials: registrytest.Users("u"),
		Asked: []string{"HEAD app:1?ns=source.invalid", "GET token:app:pull Basic u", "HEAD app:1?ns=source.invalid Bearer u", "realm: HEAD app:1", "realm: HEAD app:1", "realm: GET token:app:pull", "realm: HEAD app:1 Bearer public"},
	},
	{Name: "R55 a part of the path", Image: "source.invalid/library/app:1", More: mirroring("source.invalid", rewriting("^library/(.*)", "hub/$1")), Rules: registrytest.Always(registrytest.Image), Asked: []string{"HEAD hub/app:1?ns=source.invalid"}, Want: registrytest.ImageBody},
	{Name: "R55 anywhere in the path", Image: "source.invalid/a/lib/lib/b:1", More: mirroring("source.invalid", rewriting("lib", "x")), Rules: registrytest.Always(registrytest.Image), Asked: []string{"HEAD a/x/x/b:1?ns=source.invalid"}, Want: registrytest.ImageBody},
	{Name: "R55 by the first pattern that matches", Image: source, More: mirroring("source.invalid", rewriting("^none/", "no/", "^app$", "app", "app", "wrong")), Rules: registrytest.Always(registrytest.Image), Asked: []string{"HEAD app:1?ns=source.invalid"}, Want: registrytest.ImageBody},
	{Name: "R55 to no valid path", Image: source, More: mirroring("source.invalid", rewriting("^", "UPPER/")), Class: failure.Unavailable, Says: `(mirrors: {registry}: it can't have the repository app: invalid image reference "{registry}/UPPER/app:1"`},
	{Name: "R55 to another tag", Image: source, More: mirroring("source.invalid", rewriting("$", ":2")), Class: failure.Unavailable, Says: "(mirrors: {registry}: it can't have the repository app: "},
	{Name: "R56 a mirror of all registries", Image: source, More: mirroring("*", here), Rules: registrytest.Always(registrytest.Image), Asked: []string{"HEAD app:1?ns=source.invalid"}, Want: registrytest.ImageBody},
	{Name: "R56 not of itself", More: mirroring("*", here), Rules: registrytest.Always(registrytest.Image), Asked: []string{"HEAD app:1"}, Want: registrytest.ImageBody},
	{Name: "R56 not of a registry with mirrors of its own", Image: source, More: append(mirroring("*", registry.Mirror{Host: "{other}"}), mirroring("source.invalid", here)...), Rules: registrytest.Always(registrytest.Image), Asked: []string{"HEAD app:1?ns=source.invalid"}, Want: registrytest.ImageBody},
	{Name: "R56 not of a registry that has none", Image: source, More: append(mirroring("*", here), registry.Host{Name: "source.invalid", Mirrors: []registry.Mirror{}}), Class: failure.Unavailable},
}
