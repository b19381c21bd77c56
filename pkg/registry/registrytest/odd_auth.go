// SPDX-License-Identifier: Apache-2.0

package registrytest

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/registry"
)

var refusedToken = Answer{Status: http.StatusUnauthorized, Body: Canary}

// Bearer returns a registry whose tokens are for one user.
func Bearer(user string) Rules {
	return Rules{Registry: {{On: "token", As: user, Then: Token}, {On: "token", Then: refusedToken}, {On: "app", As: user, Then: Image}, {On: "app", Then: Challenge}}}
}

// BasicFor returns a registry that accepts one user's password.
func BasicFor(user string) Rules {
	return Rules{Registry: {{As: user, Then: Image}, {Then: Denied}}}
}

// with returns a registry with a challenge that gives tokens to every user.
func with(challenge string) Rules {
	return Rules{
		Registry: {{On: "token", Then: Token}, {On: "app", As: "u", Then: Image}, {Then: Challenged(challenge)}},
		Realm:    {{On: "token", Then: Token}},
		Other:    {{On: "token", Then: Token}},
	}
}

// Names returns names that begin with prefix.
func Names(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint(prefix, i)
	}
	return names
}

// doubly returns a registry that takes tokens and passwords for an image of one user, and that asks
// for a password if a token does not open it.
func doubly(user string) Rules {
	return Rules{Registry: {
		{On: "v2/token", Then: Token},
		{As: user, Then: Image},
		{As: "public", Then: Denied},
		{Then: Challenged(`Bearer realm="https://{registry}/v2/token",service="s",scope="*"` + "\n" + `Basic realm="registry"`)},
	}}
}

// hidden returns a registry that challenges nobody for a manifest, but at /v2/.
func hidden(code int) Rules {
	return Rules{Registry: {{On: "token", As: "u", Then: Token}, {As: "u", Then: Image}, {On: "/v2/", Then: Challenge}, {Then: Answer{Status: code}}}}
}

// both returns a credential with the password of one user and the identity token of another.
func both(password, identity string) []keychain.Credential {
	auth := Credential(password)
	auth.IdentityToken = Identity(identity).IdentityToken
	return []keychain.Credential{{Auth: auth}}
}

// loginsOf returns the requests of users that a registry with basic authentication refuses.
func loginsOf(users ...string) []string {
	asked := []string{"HEAD app:1"}
	for _, u := range users {
		asked = append(asked, "HEAD app:1 Basic "+u)
	}
	return append(asked, "HEAD app:1")
}

// authCases are about credentials, and who sees them.
var authCases = []Case{
	{Name: "R08 challenge without a scope", Rules: with(`Bearer realm="https://{registry}/token",service="s"`), Credentials: Users("u"), Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u"}, Want: ImageBody},
	{
		Name: "R08 challenge for another scope", Rules: with(`Bearer realm="https://{registry}/token",scope="repository:secret:push,pull"`), Credentials: Users("u"),
		Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u"}, Want: ImageBody,
	},
	{Name: "R09 403 for a missing tag", Rules: Always(Answer{Status: http.StatusForbidden}), Credentials: Users("u"), Asked: []string{"HEAD app:1", "GET app:1", "GET /v2/", "HEAD app:1", "GET app:1"}, Class: failure.Unauthorized, Says: "403 Forbidden"},
	{Name: "R10 POST of a password is refused", Rules: Rules{Registry: append([]Rule{{On: "POST token", Then: Answer{Status: http.StatusMethodNotAllowed}}}, Bearer("u")[Registry]...)}, Credentials: Users("u"), Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u"}, Want: ImageBody},
	{
		Name: "R10 by POST for an identity token alone", Rules: Bearer("u"), Credentials: []keychain.Credential{{Auth: Identity("u")}},
		Asked: []string{"HEAD app:1", "POST token:app:pull Identity u", "HEAD app:1 Bearer u"}, Want: ImageBody,
	},
	{
		Name: "R10 by GET for a password beside an identity token", Rules: Bearer("u"), Credentials: both("u", "v"),
		Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u"}, Want: ImageBody,
	},
	{
		Name: "R10 and by POST if the password is refused", Rules: Bearer("v"), Credentials: both("u", "v"),
		Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "POST token:app:pull Identity v", "HEAD app:1 Bearer v"}, Want: ImageBody,
	},
	{
		Name: "R13 a refused password is not shown again", Rules: BasicFor("v"), Credentials: Users("u"), Times: 3,
		Asked: []string{"HEAD app:1", "HEAD app:1 Basic u", "HEAD app:1", "HEAD app:1", "HEAD app:1"}, Class: failure.Unauthorized, Says: "this credential is not shown again for 30s",
	},
	{
		Name: "R13 nor to a token endpoint", Rules: Bearer("v"), Credentials: Users("u"), Times: 2,
		Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "GET token:app:pull", "GET token:app:pull"}, Class: failure.Unauthorized,
		Says: "{registry} (token): 401 Unauthorized; this credential is not shown again for 30s",
	},
	{Name: "R14 401 without a challenge", Rules: Always(Answer{Status: http.StatusUnauthorized}), Credentials: Users("u"), Asked: []string{"HEAD app:1", "HEAD app:1"}, Class: failure.Unauthorized, Says: "401 Unauthorized"},
	{Name: "R14 401 for missing and private alike", Rules: Always(Denied), Asked: []string{"HEAD app:1"}, Class: failure.Unauthorized, Says: "401 Unauthorized"},
	{Name: "R16 one token for a repository", Rules: Bearer("u"), Credentials: Users("u"), Times: 4, Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u", "HEAD app:1 Bearer u", "HEAD app:1 Bearer u", "HEAD app:1 Bearer u"}, Want: ImageBody},
	{
		Name: "R17 the token endpoint denies", Asked: []string{"HEAD app:1", "GET token:app:pull"}, Class: failure.Unauthorized, Says: "(token): 403 Forbidden",
		Rules: Rules{Registry: {{On: "token", Then: Answer{Status: http.StatusForbidden, Body: `{"errors":[{"code":"DENIED"}]}`}}, {Then: Challenge}}},
	},
	{
		Name: "R18 a stale credential and a public image", Credentials: Users("u"),
		Rules: Rules{Registry: {{On: "token", As: "nobody", Then: Token}, {On: "token", Then: refusedToken}, {As: "public", Then: Image}, {Then: Challenge}}},
		Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "GET token:app:pull", "HEAD app:1 Bearer public"}, Want: ImageBody,
	},
	{
		Name: "R18 where it is hidden by 404", Credentials: Users("u"), Want: ImageBody,
		Rules: Rules{Registry: {{On: "token", Then: Token}, {As: "u", Then: Answer{Status: http.StatusNotFound}}, {As: "public", Then: Image}, {Then: Challenge}}},
		Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u", "GET app:1 Bearer u", "GET token:app:pull", "HEAD app:1 Bearer public"},
	},
	{Name: "R21 basic is remembered", Rules: BasicFor("u"), Credentials: Users("u"), Times: 3, Asked: []string{"HEAD app:1", "HEAD app:1 Basic u", "HEAD app:1 Basic u", "HEAD app:1 Basic u"}, Want: ImageBody},
	{
		Name: "R27 an identity token, and insufficient scope", Credentials: []keychain.Credential{{Auth: Identity("u")}},
		Rules: with(`Bearer realm="https://{registry}/token",service="{registry}",error="insufficient_scope"`),
		Asked: []string{"HEAD app:1", "POST token:app:pull Identity u", "HEAD app:1 Bearer u"}, Want: ImageBody,
	},
	{
		Name: "R29 a realm that the config names", Rules: with(`Bearer realm="https://{realm}/token"`), Host: registry.Host{AuthHosts: []string{"{realm}"}}, Credentials: Users("u"),
		Asked: []string{"HEAD app:1", "realm: GET token:app:pull Basic u", "HEAD app:1 Bearer u"}, Want: ImageBody,
	},
	{Name: "R34 several secrets for a host", Rules: Bearer("w"), Credentials: Users("u", "v", "w"), Want: ImageBody, Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "GET token:app:pull Basic v", "GET token:app:pull Basic w", "HEAD app:1 Bearer w"}},
	{Name: "R34 no more than 16 of them", Rules: Always(Denied), Credentials: Users(Names("u", 40)...), Asked: loginsOf(Names("u", 16)...), Class: failure.Unauthorized, Says: "401 Unauthorized"},
	{
		Name: "R37 a realm on another host", Rules: with(`Bearer realm="https://{other}/token"`), Credentials: Users("u"), Class: failure.Unauthorized, Says: "its token realm is on another host or port, {other}; see authHosts",
		Asked: []string{"HEAD app:1", "other: GET token:app:pull", "HEAD app:1 Bearer public"},
	},
	{Name: "R50 a challenge that nobody knows, and another one", Rules: Rules{Registry: {{As: "u", Then: Image}, {Then: Challenged("Negotiate\nBasic realm=\"r\"")}}}, Credentials: Users("u"), Asked: []string{"HEAD app:1", "HEAD app:1 Basic u"}, Want: ImageBody},
	{Name: "R50 in one header", Rules: Rules{Registry: {{As: "u", Then: Image}, {Then: Challenged("Negotiate, Basic realm=\"r\"")}}}, Credentials: Users("u"), Asked: []string{"HEAD app:1", "HEAD app:1 Basic u"}, Want: ImageBody},
	{Name: "R50 in lower case and without quotes", Rules: with("bearer realm=https://{registry}/token, service=s"), Credentials: Users("u"), Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u"}, Want: ImageBody},
	{Name: "R50 basic and bearer", Rules: Rules{Registry: {{On: "token", Then: Token}, {As: "u", Then: Image}, {Then: Challenged("Basic realm=\"r\"\nBearer realm=\"https://{registry}/token\"")}}}, Credentials: Users("u"), Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u"}, Want: ImageBody},
	{Name: "R30 a token with status 201", Rules: Rules{Registry: {{On: "token", Then: Token.WithStatus(http.StatusCreated)}, {On: "app", As: "u", Then: Image}, {Then: Challenge}}}, Credentials: Users("u"), Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u"}, Want: ImageBody},
	{Name: "R47 a realm over HTTP at its own host", Rules: with(`Bearer realm="http://{registry}/token"`), Credentials: Users("u"), Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u"}, Want: ImageBody},
	{Name: "N04 a realm over HTTP", Rules: with(`Bearer realm="http://{other}/token"`), Credentials: Users("u"), Asked: []string{"HEAD app:1"}, Class: failure.Unauthorized, Says: "its token realm {other} is not over TLS"},
	{Name: "N04 and the config names it", Rules: with(`Bearer realm="http://{realm}/token"`), Host: registry.Host{AuthHosts: []string{"{realm}"}}, Credentials: Users("u"), Asked: []string{"HEAD app:1"}, Class: failure.Unauthorized, Says: "its token realm {realm} is not over TLS"},
	{
		Name: "R43 400 for a password that has expired", Credentials: Users("u"), Class: failure.Unauthorized, Says: "400 Bad Request",
		Rules: Rules{Registry: {{As: "u", Then: Answer{Status: http.StatusBadRequest}}, {Then: Denied}}},
		Asked: []string{"HEAD app:1", "HEAD app:1 Basic u", "GET app:1 Basic u", "HEAD app:1"},
	},
	{
		Name: "R45 404 to nobody, without a challenge", Credentials: Users("u"), Want: ImageBody, Times: 2, Rules: hidden(http.StatusNotFound),
		Asked: []string{"HEAD app:1", "GET app:1", "GET /v2/", "GET token:app:pull Basic u", "GET app:1 Bearer u", "HEAD app:1 Bearer u"},
	},
	{
		Name: "R45 403 to nobody, without a challenge", Credentials: Users("u"), Want: ImageBody, Rules: hidden(http.StatusForbidden),
		Asked: []string{"HEAD app:1", "GET app:1", "GET /v2/", "GET token:app:pull Basic u", "GET app:1 Bearer u"},
	},
	{
		Name: "R45 and no challenge there", Credentials: Users("u"), Class: failure.NotFound, Times: 2, Rules: Rules{},
		Asked: []string{"HEAD app:1", "GET app:1", "GET /v2/", "HEAD app:1", "GET app:1"},
	},
	{
		Name: "R45 and limited there", Credentials: Users("u"), Class: failure.Unavailable, Says: "429 Too Many Requests", Times: 2,
		Rules: Rules{Registry: {{On: "/v2/", Then: Busy(429, "0")}}}, Asked: []string{"HEAD app:1", "GET app:1", "GET /v2/"},
	},
	{Name: "N02 a long service", Rules: with(`Bearer realm="https://{registry}/token",service="` + strings.Repeat("!", 2<<10) + `"`), Asked: []string{"HEAD app:1"}, Class: failure.Invalid, Says: "its token realm is no valid address"},
	{
		Name: "R45 and a redirect to another host there", Credentials: Users("u"), Class: failure.NotFound, Times: 2,
		Rules: Rules{Registry: {{On: "/v2/", Then: Redirect(http.StatusFound, "https://{other}/login")}}},
		Asked: []string{"HEAD app:1", "GET app:1", "GET /v2/", "HEAD app:1", "GET app:1"},
	},
	{
		Name: "R45 and a redirect over plain HTTP there", Credentials: Users("u"), Class: failure.NotFound,
		Rules: Rules{Registry: {{On: "/v2/", Then: Redirect(http.StatusFound, "http://{registry}/login")}}},
		Asked: []string{"HEAD app:1", "GET app:1", "GET /v2/"},
	},
	{
		Name: "R45 and no content there", Credentials: Users("u"), Class: failure.NotFound,
		Rules: Rules{Registry: {{On: "/v2/", Then: Answer{Status: http.StatusNoContent}}}},
		Asked: []string{"HEAD app:1", "GET app:1", "GET /v2/"},
	},
	{
		Name: "R45 and out of service there", Credentials: Users("u"), Class: failure.Unavailable, Says: "503 Service Unavailable at /v2/",
		Rules: Rules{Registry: {{On: "/v2/", Then: Answer{Status: http.StatusServiceUnavailable}}}},
		Asked: []string{"HEAD app:1", "GET app:1", "GET /v2/"},
	},
	{Name: "R45 without a credential", Class: failure.NotFound, Rules: hidden(http.StatusNotFound), Asked: headGet},
	{Name: "R52 a token, though a password would do", Credentials: Users("u"), Want: ImageBody, Rules: doubly("u"), Asked: []string{"HEAD app:1", "GET v2/token:app:pull Basic u", "HEAD app:1 Bearer u"}},
	{
		Name: "R52 a token that opens nothing is no refused password", Class: failure.Unauthorized, Says: "{registry}: 401 Unauthorized", Times: 2, Rules: doubly("u"),
		Asked: []string{"HEAD app:1", "GET v2/token:app:pull", "HEAD app:1 Bearer public", "HEAD app:1 Bearer public"},
	},
	{Name: "N04 a realm with credentials", Rules: with(`Bearer realm="https://a:b@{other}/token"`), Credentials: Users("u"), Asked: []string{"HEAD app:1"}, Class: failure.Invalid, Says: "holds credentials"},
	{Name: "N04 a realm at a metadata service", Rules: with(`Bearer realm="https://169.254.169.254/token"`), Asked: []string{"HEAD app:1"}, Class: failure.Unavailable, Says: "{registry} (token): unreachable"},
	{Name: "N04 a realm on another port", Rules: with(`Bearer realm="https://{other}/token"`), Credentials: []keychain.Credential{{Auth: Identity("u")}}, Asked: []string{"HEAD app:1", "other: GET token:app:pull", "HEAD app:1 Bearer public"}, Class: failure.Unauthorized},
	{Name: "N04 a realm that redirects", Credentials: Users("u"), Rules: Rules{Registry: {{On: "token", Then: Redirect(http.StatusTemporaryRedirect, "https://{other}/token")}, {Then: Challenge}}}, Asked: []string{"HEAD app:1", "GET token:app:pull Basic u"}, Class: failure.Invalid, Says: "redirects to {other}"},
	{
		Name: "R51 a realm that redirects within its host", Credentials: Users("u"), Want: ImageBody,
		Rules: Rules{Registry: {{On: "token", Then: Redirect(http.StatusTemporaryRedirect, "https://{registry}/auth/token")}, {On: "auth/token", Then: Token}, {On: "app", As: "u", Then: Image}, {Then: Challenge}}},
		Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "GET auth/token: Basic u", "HEAD app:1 Bearer u"},
	},
	{
		Name: "R51 without an end", Credentials: Users("u"), Class: failure.Invalid, Says: "more than 3 redirects",
		Rules: Rules{Registry: {{On: "token", Then: Redirect(http.StatusTemporaryRedirect, "https://{registry}/token")}, {Then: Challenge}}},
		Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "GET token: Basic u", "GET token: Basic u", "GET token: Basic u"},
	},
	{Name: "N04 no address at all", Rules: with(`Bearer realm="/token"`), Credentials: Users("u"), Asked: []string{"HEAD app:1"}, Class: failure.Invalid, Says: "no valid address"},
	{
		Name: "N10 the right one after a wrong one", Rules: BasicFor("v"), Credentials: Users("u", "v"), Asked: []string{"HEAD app:1", "HEAD app:1 Basic u", "HEAD app:1 Basic v"}, Want: ImageBody,
	},
	{
		Name: "N10 one that all share says no more than that", Rules: BasicFor("v"), Credentials: []keychain.Credential{Shared("u")},
		Asked: []string{"HEAD app:1", "HEAD app:1 Basic u", "HEAD app:1"}, Class: failure.Unauthorized, Says: "{registry}: not found or not allowed",
	},
	{
		Name: "N15 a secret in the registry's own words", Rules: Always(Answer{
			Status: http.StatusForbidden, Body: `{"errors":[{"message":"` + Canary + `"}]}`,
			Header: map[string]string{"X-Token": Canary, "Www-Authenticate": `Bearer realm="https://x/?` + Canary + `"`},
		}), Credentials: Users("u"), Asked: []string{"HEAD app:1", "GET app:1", "GET /v2/", "HEAD app:1", "GET app:1"}, Class: failure.Unauthorized,
	},
	{
		Name: "N15 a secret in the realm's query", Credentials: Users("u"), Asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "GET token:app:pull"}, Class: failure.Unauthorized,
		Rules: Rules{Registry: {{On: "token", Then: Answer{Status: http.StatusForbidden}}, {Then: Challenged(`Bearer realm="https://{registry}/token?key=` + Canary + `"`)}}},
	},
}
