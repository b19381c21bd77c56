// SPDX-License-Identifier: Apache-2.0

package registrytest

import (
	"net/http"
	"strings"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry"
)

// to returns a rule that redirects.
func to(location string) Rule {
	return Rule{On: "app", Then: Redirect(http.StatusTemporaryRedirect, location)}
}

// through returns a registry whose manifests are at another host for requests with a token.
func through(there Answer) Rules {
	return Rules{Registry: {{On: "token", Then: Token}, {On: "app", As: "nobody", Then: Challenge}, to("https://{other}/v2/app/manifests/1?signature=" + Canary[:6])}, Other: {{Then: there}}}
}

// Moved returns a registry that redirects requests with a token to another one, which gives this
// answer to those that ask for its token.
func Moved(there Answer) Rules {
	return Rules{
		Registry: {{On: "token", Then: Token}, {On: "app", As: "nobody", Then: Challenge}, to("https://{realm}/v2/app/manifests/1")},
		Realm:    {{On: "token", Then: there}, {As: "public", Then: Image}, {Then: Challenged(`Bearer realm="https://{realm}/token"`)}},
	}
}

var throughAsked = []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u", "other: HEAD app:1"}

// redirectCases are about other hosts, and names.
var redirectCases = []Case{
	{Name: "R07 and the authorization is lost", Rules: through(Answer{Status: http.StatusUnauthorized}), Credentials: Users("u"), Asked: append(throughAsked[:4:4], "GET token:app:pull", "HEAD app:1 Bearer public", "other: HEAD app:1"), Class: failure.Unauthorized, Says: "{registry} (redirected to {other}): 401 Unauthorized"},
	{Name: "R07 to a private address", Rules: Rules{Registry: {to("https://127.0.0.2/v2/app/manifests/1")}}, Asked: headGet[:1], Class: failure.Unavailable, Says: "unreachable"},
	{Name: "R24 the canonical name, of Docker Hub's short ones too", Image: "nginx", More: mirrored("docker.io", true), Rules: Rules{Registry: {{On: "library/nginx", Then: Image}}}, Asked: []string{"HEAD library/nginx:latest?ns=docker.io"}, Want: ImageBody},
	{Name: "R28 to another host", Rules: through(Image), Credentials: Users("u"), Asked: throughAsked, Want: ImageBody},
	{Name: "R28 by 302", Rules: Rules{Registry: {{On: "app", Then: Redirect(http.StatusFound, "https://{other}/v2/app/manifests/1")}}, Other: {{Then: Image}}}, Asked: []string{"HEAD app:1", "other: HEAD app:1"}, Want: ImageBody},
	{Name: "R28 by three hops", Rules: hops(3), Asked: []string{"HEAD app:1", "HEAD hop0:1", "HEAD hop1:1", "HEAD hop2:1"}, Want: ImageBody},
	{Name: "R28 by four hops", Rules: hops(4), Asked: []string{"HEAD app:1", "HEAD hop0:1", "HEAD hop1:1", "HEAD hop2:1"}, Class: failure.Invalid, Says: "more than 3 redirects"},
	{Name: "R28 without TLS", Rules: Rules{Registry: {to("http://{other}/v2/app/manifests/1")}}, Asked: headGet[:1], Class: failure.Invalid, Says: "redirect to {other}, not over TLS"},
	{Name: "R46 to another registry that challenges", Rules: Moved(Token), Credentials: Users("u"), Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u", "realm: HEAD app:1", "realm: HEAD app:1", "realm: GET token:app:pull", "realm: HEAD app:1 Bearer public"}, Want: ImageBody},
	{Name: "R46 and gives nobody a token", Rules: Moved(refusedToken), Asked: []string{"HEAD app:1", "GET token:app:pull", "HEAD app:1 Bearer public", "realm: HEAD app:1", "realm: HEAD app:1", "realm: GET token:app:pull"}, Class: failure.Unauthorized, Says: "{registry} (token) (redirected to {realm}): 401 Unauthorized"},
	{Name: "R46 and wants a password", Rules: Rules{Registry: {to("https://{realm}/v2/app/manifests/1")}, Realm: {{Then: Denied}}}, Credentials: Users("u"), Asked: []string{"HEAD app:1", "realm: HEAD app:1", "HEAD app:1", "realm: HEAD app:1"}, Class: failure.Unauthorized, Says: "{registry} (redirected to {realm}): 401 Unauthorized"},
	{
		Name: "R46 and has no such tag", Class: failure.NotFound, Says: "{registry} (redirected to {realm}): 404 Not Found",
		Rules: Rules{Registry: {to("https://{realm}/v2/app/manifests/1")}, Realm: {{On: "token", Then: Token}, {As: "public", Then: Answer{Status: http.StatusNotFound}}, {Then: Challenged(`Bearer realm="https://{realm}/token"`)}}},
		Asked: []string{"HEAD app:1", "realm: HEAD app:1", "realm: HEAD app:1", "realm: GET token:app:pull", "realm: HEAD app:1 Bearer public", "realm: GET app:1 Bearer public"},
	},
	{
		Name: "R46 and gives no digest", Want: ImageBody,
		Rules: Rules{Registry: {to("https://{realm}/v2/app/manifests/1")}, Realm: {{On: "token", Then: Token}, {As: "public", Then: noDigest}, {Then: Challenged(`Bearer realm="https://{realm}/token"`)}}},
		Asked: []string{"HEAD app:1", "realm: HEAD app:1", "realm: HEAD app:1", "realm: GET token:app:pull", "realm: HEAD app:1 Bearer public", "realm: GET app:1 Bearer public"},
	},
	{
		Name: "R46 GET is not followed", Class: failure.Unauthorized, Host: registry.Host{Verify: true}, Says: "{registry} (redirected to {realm}): 401 Unauthorized",
		Rules: Moved(Token), Asked: []string{"GET app:1", "GET token:app:pull", "GET app:1 Bearer public", "realm: GET app:1"},
	},
	{Name: "R28 to a long address", Rules: Rules{Registry: {to("https://{registry}/v2/" + strings.Repeat("x", 8<<10))}}, Asked: headGet[:1], Class: failure.Invalid, Says: "redirect to {registry}, whose address has more than 8 KiB"},
	{Name: "R46 and to no manifest", Rules: Rules{Registry: {to("https://{realm}/login")}, Realm: {{Then: Challenged(`Bearer realm="https://{realm}/token"`)}}}, Asked: []string{"HEAD app:1", "realm: HEAD /login"}, Class: failure.Unauthorized, Says: "{registry} (redirected to {realm}): 401 Unauthorized"},
	{Name: "R33 a mirror is no source of tags", Image: "source.invalid/app:1", More: mirrored("source.invalid", false), Asked: nil, Class: failure.Unavailable},
	{Name: "R33 a mirror for tags", Host: mirror, Rules: Rules{Realm: {{Then: Image}}, Registry: {{Then: Index}}}, Asked: []string{"realm: HEAD app:1?ns={registry}"}, Want: ImageBody},
	{Name: "R33 a mirror that lacks the image", Host: mirror, Rules: Always(Image), Asked: []string{"realm: HEAD app:1?ns={registry}", "realm: GET app:1?ns={registry}", "HEAD app:1"}, Want: ImageBody},
	{Name: "R33 a mirror that is out of service", Host: mirror, Rules: Rules{Realm: {{Then: Answer{Status: http.StatusBadGateway}}}, Registry: {{Then: Image}}}, Asked: []string{"realm: HEAD app:1?ns={registry}", "HEAD app:1"}, Want: ImageBody},
	{Name: "R36 no credential in a URL", Rules: Rules{Registry: {to("https://a:b@{other}/v2/app/manifests/1")}}, Credentials: Users("u"), Asked: headGet[:1], Class: failure.Invalid, Says: "with credentials in the URL"},
	{Name: "R36 none to a foreign host", Rules: Rules{Registry: {{As: "u", Then: Redirect(http.StatusPermanentRedirect, "https://{other}/v2/app/manifests/1")}, {Then: Denied}}, Other: {{Then: Denied}}}, Credentials: Users("u"), Asked: []string{"HEAD app:1", "HEAD app:1 Basic u", "other: HEAD app:1", "HEAD app:1"}, Class: failure.Unauthorized, Says: "(redirected to {other})"},
	{Name: "N05 a redirect to a metadata service", Rules: Rules{Registry: {to("https://169.254.169.254/latest/meta-data")}}, Asked: headGet[:1], Class: failure.Unavailable, Says: "unreachable"},
	{Name: "N05 a redirect to NAT64", Rules: Rules{Registry: {to("https://[64:ff9b::7f00:1]/v2/")}}, Asked: headGet[:1], Class: failure.Unavailable, Says: "unreachable"},
}

// mirror are the settings of a registry that has a mirror for its tags.
var mirror = registry.Host{Mirrors: []registry.Mirror{{Host: "{realm}", Resolve: true}}}

// mirrored returns a registry that can't be reached, with a mirror that can.
func mirrored(host string, tags bool) []registry.Host {
	return []registry.Host{{Name: host, Mirrors: []registry.Mirror{{Host: "{registry}", Resolve: tags}}}}
}

// hops returns a registry with n redirects to itself.
func hops(n int) Rules {
	list := []Rule{to("https://{registry}/v2/hop0/manifests/1")}
	for i := range n - 1 {
		list = append(list, Rule{On: "hop" + string(rune('0'+i)), Then: Redirect(http.StatusTemporaryRedirect, "https://{registry}/v2/hop"+string(rune('1'+i))+"/manifests/1")})
	}
	return Rules{Registry: append(list, Rule{Then: Image})}
}
