// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
)

// to returns a rule that redirects.
func to(location string) rule {
	return rule{On: "app", Then: registrytest.Redirect(http.StatusTemporaryRedirect, location)}
}

// through returns a registry whose manifests are at another host for requests with a token.
func through(there answer) rules {
	return rules{own: {{On: "token", Then: token}, {On: "app", As: "nobody", Then: challenge}, to("https://{other}/v2/app/manifests/1?signature=" + registrytest.Canary[:6])}, other: {{Then: there}}}
}

// moved returns a registry that redirects requests with a token to another one, which gives this
// answer to those that ask for its token.
func moved(there answer) rules {
	return rules{
		own:   {{On: "token", Then: token}, {On: "app", As: "nobody", Then: challenge}, to("https://{realm}/v2/app/manifests/1")},
		realm: {{On: "token", Then: there}, {As: "public", Then: right}, {Then: registrytest.Challenged(`Bearer realm="https://{realm}/token"`)}},
	}
}

var throughAsked = []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u", "other: HEAD app:1"}

// redirectCases are about other hosts, and names.
var redirectCases = []odd{
	{name: "R07 and the authorization is lost", rules: through(answer{Status: http.StatusUnauthorized}), creds: users("u"), asked: append(throughAsked[:4:4], "GET token:app:pull", "HEAD app:1 Bearer public", "other: HEAD app:1"), class: failure.Unauthorized, says: "{registry} (redirected to {other}): 401 Unauthorized"},
	{name: "R07 to a private address", rules: rules{own: {to("https://127.0.0.2/v2/app/manifests/1")}}, asked: headGet[:1], class: failure.Invalid, says: "its address is not allowed"},
	{name: "R24 the canonical name, of Docker Hub's short ones too", image: "nginx", more: mirrored("docker.io", true), rules: rules{own: {{On: "HEAD library/nginx", Then: right}}}, asked: []string{"HEAD library/nginx:latest"}, want: image},
	{name: "R28 to another host", rules: through(right), creds: users("u"), asked: throughAsked, want: image},
	{name: "R28 by 302", rules: rules{own: {{On: "app", Then: registrytest.Redirect(http.StatusFound, "https://{other}/v2/app/manifests/1")}}, other: {{Then: right}}}, asked: []string{"HEAD app:1", "other: HEAD app:1"}, want: image},
	{name: "R28 by three hops", rules: hops(3), asked: []string{"HEAD app:1", "HEAD hop0:1", "HEAD hop1:1", "HEAD hop2:1"}, want: image},
	{name: "R28 by four hops", rules: hops(4), asked: []string{"HEAD app:1", "HEAD hop0:1", "HEAD hop1:1", "HEAD hop2:1"}, class: failure.Invalid, says: "more than 3 redirects"},
	{name: "R28 without TLS", rules: rules{own: {to("http://{other}/v2/app/manifests/1")}}, asked: headGet[:1], class: failure.Invalid, says: "redirect to {other}, not over TLS"},
	{name: "R46 to another registry that challenges", rules: moved(token), creds: users("u"), asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u", "realm: HEAD app:1", "realm: HEAD app:1", "realm: GET token:app:pull", "realm: HEAD app:1 Bearer public"}, want: image},
	{name: "R46 and gives nobody a token", rules: moved(refusedToken), asked: []string{"HEAD app:1", "GET token:app:pull", "HEAD app:1 Bearer public", "realm: HEAD app:1", "realm: HEAD app:1", "realm: GET token:app:pull"}, class: failure.Unauthorized, says: "{registry} (token) (redirected to {realm}): 401 Unauthorized"},
	{name: "R46 and wants a password", rules: rules{own: {to("https://{realm}/v2/app/manifests/1")}, realm: {{Then: denied}}}, creds: users("u"), asked: []string{"HEAD app:1", "realm: HEAD app:1", "HEAD app:1", "realm: HEAD app:1"}, class: failure.Unauthorized, says: "{registry} (redirected to {realm}): 401 Unauthorized"},
	{
		name: "R46 and has no such tag", class: failure.NotFound, says: "{registry} (redirected to {realm}): 404 Not Found",
		rules: rules{own: {to("https://{realm}/v2/app/manifests/1")}, realm: {{On: "token", Then: token}, {As: "public", Then: answer{Status: http.StatusNotFound}}, {Then: registrytest.Challenged(`Bearer realm="https://{realm}/token"`)}}},
		asked: []string{"HEAD app:1", "realm: HEAD app:1", "realm: HEAD app:1", "realm: GET token:app:pull", "realm: HEAD app:1 Bearer public"},
	},
	{
		name: "R46 and gives no digest", class: failure.Invalid, says: "{registry}: the registry that it redirects to gives no digest by HEAD",
		rules: rules{own: {to("https://{realm}/v2/app/manifests/1")}, realm: {{On: "token", Then: token}, {As: "public", Then: noDigest}, {Then: registrytest.Challenged(`Bearer realm="https://{realm}/token"`)}}},
		asked: []string{"HEAD app:1", "realm: HEAD app:1", "realm: HEAD app:1", "realm: GET token:app:pull", "realm: HEAD app:1 Bearer public"},
	},
	{
		name: "R46 GET is not followed", class: failure.Unauthorized, host: registry.Host{Verify: true}, says: "{registry} (redirected to {realm}): 401 Unauthorized",
		rules: moved(token), asked: []string{"GET app:1", "GET token:app:pull", "GET app:1 Bearer public", "realm: GET app:1"},
	},
	{name: "R28 to a long address", rules: rules{own: {to("https://{registry}/v2/" + strings.Repeat("x", 8<<10))}}, asked: headGet[:1], class: failure.Invalid, says: "redirect to {registry}, whose address has more than 8 KiB"},
	{name: "R46 and to no manifest", rules: rules{own: {to("https://{realm}/login")}, realm: {{Then: registrytest.Challenged(`Bearer realm="https://{realm}/token"`)}}}, asked: []string{"HEAD app:1", "realm: HEAD /login"}, class: failure.Unauthorized, says: "{registry} (redirected to {realm}): 401 Unauthorized"},
	{name: "R33 a mirror is no source of tags", image: "source.invalid/app:1", more: mirrored("source.invalid", false), asked: nil, class: failure.Unavailable},
	{name: "R36 no credential in a URL", rules: rules{own: {to("https://a:b@{other}/v2/app/manifests/1")}}, creds: users("u"), asked: headGet[:1], class: failure.Invalid, says: "with credentials in the URL"},
	{name: "R36 none to a foreign host", rules: rules{own: {{As: "u", Then: registrytest.Redirect(http.StatusPermanentRedirect, "https://{other}/v2/app/manifests/1")}, {Then: denied}}, other: {{Then: denied}}}, creds: users("u"), asked: []string{"HEAD app:1", "HEAD app:1 Basic u", "other: HEAD app:1", "HEAD app:1"}, class: failure.Unauthorized, says: "(redirected to {other})"},
	{name: "N05 a redirect to a metadata service", rules: rules{own: {to("https://169.254.169.254/latest/meta-data")}}, asked: headGet[:1], class: failure.Invalid, says: "its address is not allowed"},
	{name: "N05 a redirect to NAT64", rules: rules{own: {to("https://[64:ff9b::7f00:1]/v2/")}}, asked: headGet[:1], class: failure.Invalid, says: "its address is not allowed"},
}

// mirrored returns a registry that can't be reached, with a mirror that can.
func mirrored(host string, tags bool) []registry.Host {
	return []registry.Host{{Name: host, Mirrors: []registry.Mirror{{Host: "{registry}", Resolve: tags}}}}
}

// hops returns a registry with n redirects to itself.
func hops(n int) rules {
	list := []rule{to("https://{registry}/v2/hop0/manifests/1")}
	for i := range n - 1 {
		list = append(list, rule{On: "hop" + string(rune('0'+i)), Then: registrytest.Redirect(http.StatusTemporaryRedirect, "https://{registry}/v2/hop"+string(rune('1'+i))+"/manifests/1")})
	}
	return rules{own: append(list, rule{Then: right})}
}

// TestOddRedirects tests redirects, names and mirrors.
func TestOddRedirects(t *testing.T) { try(t, redirectCases) }
