// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
	"github.com/tagpin/tagpin/pkg/resolve"
)

var (
	challenge, token = registrytest.Challenge, registrytest.Token
	denied, right    = registrytest.Denied, registrytest.Image
	refusedToken     = answer{Status: http.StatusUnauthorized, Body: registrytest.Canary}
)

// bearer returns a registry whose tokens are for one user.
func bearer(user string) rules {
	return rules{own: {{On: "token", As: user, Then: token}, {On: "token", Then: refusedToken}, {On: "app", As: user, Then: right}, {On: "app", Then: challenge}}}
}

// basicFor returns a registry that accepts one user's password.
func basicFor(user string) rules {
	return rules{own: {{As: user, Then: right}, {Then: denied}}}
}

// with returns a registry with a challenge that gives tokens to every user.
func with(challenge string) rules {
	return rules{
		own:   {{On: "token", Then: token}, {On: "app", As: "u", Then: right}, {Then: registrytest.Challenged(challenge)}},
		realm: {{On: "token", Then: token}},
		other: {{On: "token", Then: token}},
	}
}

// many returns names that begin with prefix.
func many(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint(prefix, i)
	}
	return names
}

// hidden returns a registry that challenges nobody for a manifest, but at /v2/.
func hidden(code int) rules {
	return rules{own: {{On: "token", As: "u", Then: token}, {As: "u", Then: right}, {On: "/v2/", Then: challenge}, {Then: answer{Status: code}}}}
}

// both returns a credential with the password of one user and the identity token of another.
func both(password, identity string) []keychain.Credential {
	auth := registrytest.Credential(password)
	auth.IdentityToken = registrytest.Identity(identity).IdentityToken
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
var authCases = []odd{
	{name: "R08 challenge without a scope", rules: with(`Bearer realm="https://{registry}/token",service="s"`), creds: users("u"), asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u"}, want: image},
	{
		name: "R08 challenge for another scope", rules: with(`Bearer realm="https://{registry}/token",scope="repository:secret:push,pull"`), creds: users("u"),
		asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u"}, want: image,
	},
	{name: "R09 403 for a missing tag", rules: always(answer{Status: http.StatusForbidden}), creds: users("u"), asked: []string{"HEAD app:1", "GET app:1", "GET /v2/", "HEAD app:1", "GET app:1"}, class: failure.Unauthorized, says: "403 Forbidden"},
	{name: "R10 the token by GET", rules: bearer("u"), creds: users("u"), asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u"}, want: image},
	{
		name: "R10 by POST for an identity token alone", rules: bearer("u"), creds: []keychain.Credential{{Auth: registrytest.Identity("u")}},
		asked: []string{"HEAD app:1", "POST token:app:pull Identity u", "HEAD app:1 Bearer u"}, want: image,
	},
	{
		name: "R10 by GET for a password beside an identity token", rules: bearer("u"), creds: both("u", "v"),
		asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u"}, want: image,
	},
	{
		name: "R10 and by POST if the password is refused", rules: bearer("v"), creds: both("u", "v"),
		asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "POST token:app:pull Identity v", "HEAD app:1 Bearer v"}, want: image,
	},
	{
		name: "R13 a refused password is not shown again", rules: basicFor("v"), creds: users("u"), times: 3,
		asked: []string{"HEAD app:1", "HEAD app:1 Basic u", "HEAD app:1", "HEAD app:1", "HEAD app:1"}, class: failure.Unauthorized, says: "this credential is not shown again for 30s",
	},
	{
		name: "R13 nor to a token endpoint", rules: bearer("v"), creds: users("u"), times: 2,
		asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "GET token:app:pull", "GET token:app:pull"}, class: failure.Unauthorized,
		says: "{registry} (token): 401 Unauthorized; this credential is not shown again for 30s",
	},
	{name: "R14 401 without a challenge", rules: always(answer{Status: http.StatusUnauthorized}), creds: users("u"), asked: []string{"HEAD app:1", "HEAD app:1"}, class: failure.Unauthorized, says: "401 Unauthorized"},
	{name: "R14 401 for missing and private alike", rules: always(denied), asked: []string{"HEAD app:1"}, class: failure.Unauthorized, says: "401 Unauthorized"},
	{name: "R16 one token for a repository", rules: bearer("u"), creds: users("u"), times: 4, asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u", "HEAD app:1 Bearer u", "HEAD app:1 Bearer u", "HEAD app:1 Bearer u"}, want: image},
	{
		name: "R17 the token endpoint denies", asked: []string{"HEAD app:1", "GET token:app:pull"}, class: failure.Unauthorized, says: "(token): 403 Forbidden",
		rules: rules{own: {{On: "token", Then: answer{Status: http.StatusForbidden, Body: `{"errors":[{"code":"DENIED"}]}`}}, {Then: challenge}}},
	},
	{
		name: "R18 a stale credential and a public image", creds: users("u"),
		rules: rules{own: {{On: "token", As: "nobody", Then: token}, {On: "token", Then: refusedToken}, {As: "public", Then: right}, {Then: challenge}}},
		asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "GET token:app:pull", "HEAD app:1 Bearer public"}, want: image,
	},
	{
		name: "R18 where it is hidden by 404", creds: users("u"), want: image,
		rules: rules{own: {{On: "token", Then: token}, {As: "u", Then: answer{Status: http.StatusNotFound}}, {As: "public", Then: right}, {Then: challenge}}},
		asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u", "GET app:1 Bearer u", "GET token:app:pull", "HEAD app:1 Bearer public"},
	},
	{name: "R21 basic is remembered", rules: basicFor("u"), creds: users("u"), times: 3, asked: []string{"HEAD app:1", "HEAD app:1 Basic u", "HEAD app:1 Basic u", "HEAD app:1 Basic u"}, want: image},
	{
		name: "R27 an identity token, and insufficient scope", creds: []keychain.Credential{{Auth: registrytest.Identity("u")}},
		rules: with(`Bearer realm="https://{registry}/token",service="{registry}",error="insufficient_scope"`),
		asked: []string{"HEAD app:1", "POST token:app:pull Identity u", "HEAD app:1 Bearer u"}, want: image,
	},
	{
		name: "R29 a realm that the config names", rules: with(`Bearer realm="https://{realm}/token"`), host: registry.Host{AuthHosts: []string{"{realm}"}}, creds: users("u"),
		asked: []string{"HEAD app:1", "realm: GET token:app:pull Basic u", "HEAD app:1 Bearer u"}, want: image,
	},
	{name: "R34 several secrets for a host", rules: bearer("w"), creds: users("u", "v", "w"), want: image, asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "GET token:app:pull Basic v", "GET token:app:pull Basic w", "HEAD app:1 Bearer w"}},
	{name: "R34 no more than 16 of them", rules: always(denied), creds: users(many("u", 40)...), asked: loginsOf(many("u", 16)...), class: failure.Unauthorized, says: "401 Unauthorized"},
	{
		name: "R37 a realm on another host", rules: with(`Bearer realm="https://{other}/token"`), creds: users("u"), class: failure.Unauthorized, says: "its token realm is on another host, {other}; see authHosts",
		asked: []string{"HEAD app:1", "other: GET token:app:pull", "HEAD app:1 Bearer public"},
	},
	{name: "R47 a realm over HTTP at its own host", rules: with(`Bearer realm="http://{registry}/token"`), creds: users("u"), asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "HEAD app:1 Bearer u"}, want: image},
	{name: "N04 a realm over HTTP", rules: with(`Bearer realm="http://{other}/token"`), creds: users("u"), asked: []string{"HEAD app:1"}, class: failure.Unauthorized, says: "its token realm {other} is not over TLS"},
	{name: "N04 and the config names it", rules: with(`Bearer realm="http://{realm}/token"`), host: registry.Host{AuthHosts: []string{"{realm}"}}, creds: users("u"), asked: []string{"HEAD app:1"}, class: failure.Unauthorized, says: "its token realm {realm} is not over TLS"},
	{
		name: "R43 400 for a password that has expired", creds: users("u"), class: failure.Unauthorized, says: "400 Bad Request",
		rules: rules{own: {{As: "u", Then: answer{Status: http.StatusBadRequest}}, {Then: denied}}},
		asked: []string{"HEAD app:1", "HEAD app:1 Basic u", "GET app:1 Basic u", "HEAD app:1"},
	},
	{
		name: "R45 404 to nobody, without a challenge", creds: users("u"), want: image, times: 2, rules: hidden(http.StatusNotFound),
		asked: []string{"HEAD app:1", "GET app:1", "GET /v2/", "GET token:app:pull Basic u", "GET app:1 Bearer u", "HEAD app:1 Bearer u"},
	},
	{
		name: "R45 403 to nobody, without a challenge", creds: users("u"), want: image, rules: hidden(http.StatusForbidden),
		asked: []string{"HEAD app:1", "GET app:1", "GET /v2/", "GET token:app:pull Basic u", "GET app:1 Bearer u"},
	},
	{
		name: "R45 and no challenge there", creds: users("u"), class: failure.NotFound, times: 2, rules: rules{},
		asked: []string{"HEAD app:1", "GET app:1", "GET /v2/", "HEAD app:1", "GET app:1"},
	},
	{
		name: "R45 and limited there", creds: users("u"), class: failure.Unavailable, says: "429 Too Many Requests", times: 2,
		rules: rules{own: {{On: "/v2/", Then: busy(429, "0")}}}, asked: []string{"HEAD app:1", "GET app:1", "GET /v2/"},
	},
	{name: "N02 a long service", rules: with(`Bearer realm="https://{registry}/token",service="` + strings.Repeat("!", 2<<10) + `"`), asked: []string{"HEAD app:1"}, class: failure.Invalid, says: "its token realm is no valid address"},
	{name: "R45 without a credential", class: failure.NotFound, rules: hidden(http.StatusNotFound), asked: headGet},
	{name: "N04 a realm with credentials", rules: with(`Bearer realm="https://a:b@{other}/token"`), creds: users("u"), asked: []string{"HEAD app:1"}, class: failure.Invalid, says: "holds credentials"},
	{name: "N04 a realm at a metadata service", rules: with(`Bearer realm="https://169.254.169.254/token"`), asked: []string{"HEAD app:1"}, class: failure.Invalid, says: "its address is not allowed"},
	{name: "N04 a realm on another port", rules: with(`Bearer realm="https://{other}/token"`), creds: []keychain.Credential{{Auth: registrytest.Identity("u")}}, asked: []string{"HEAD app:1", "other: GET token:app:pull", "HEAD app:1 Bearer public"}, class: failure.Unauthorized},
	{name: "N04 a realm that redirects", creds: users("u"), rules: rules{own: {{On: "token", Then: registrytest.Redirect(http.StatusTemporaryRedirect, "https://{other}/token")}, {Then: challenge}}}, asked: []string{"HEAD app:1", "GET token:app:pull Basic u"}, class: failure.Invalid, says: "redirects to {other}"},
	{name: "N04 no address at all", rules: with(`Bearer realm="/token"`), creds: users("u"), asked: []string{"HEAD app:1"}, class: failure.Invalid, says: "no valid address"},
	{
		name: "N10 the right one after a wrong one", rules: basicFor("v"), creds: users("u", "v"), asked: []string{"HEAD app:1", "HEAD app:1 Basic u", "HEAD app:1 Basic v"}, want: image,
	},
	{
		name: "N10 one that all share says no more than that", rules: basicFor("v"), creds: []keychain.Credential{shared("u")},
		asked: []string{"HEAD app:1", "HEAD app:1 Basic u", "HEAD app:1"}, class: failure.Unauthorized, says: "{registry}: not found or not allowed",
	},
	{
		name: "N15 a secret in the registry's own words", rules: always(answer{
			Status: http.StatusForbidden, Body: `{"errors":[{"message":"` + registrytest.Canary + `"}]}`,
			Header: map[string]string{"X-Token": registrytest.Canary, "Www-Authenticate": `Bearer realm="https://x/?` + registrytest.Canary + `"`},
		}), creds: users("u"), asked: []string{"HEAD app:1", "GET app:1", "GET /v2/", "HEAD app:1", "GET app:1"}, class: failure.Unauthorized,
	},
	{
		name: "N15 a secret in the realm's query", creds: users("u"), asked: []string{"HEAD app:1", "GET token:app:pull Basic u", "GET token:app:pull"}, class: failure.Unauthorized,
		rules: rules{own: {{On: "token", Then: answer{Status: http.StatusForbidden}}, {Then: registrytest.Challenged(`Bearer realm="https://{registry}/token?key=` + registrytest.Canary + `"`)}}},
	},
}

// TestRealmMoves checks that a lookup succeeds when the registry's token endpoint has moved.
func TestRealmMoves(t *testing.T) {
	at := func(path string) rules {
		return rules{own: {{On: path, Then: token}, {As: "u", Then: right}, {Then: registrytest.Challenged(`Bearer realm="https://{registry}/` + path + `"`)}}}
	}
	w := registrytest.Start(t, at("old/token"))
	top := build(t, w.Client(registry.Host{Name: w.Host(own)}))
	ask := func(image string) {
		t.Helper()
		_, err := top.Resolve(t.Context(), resolve.Request{Ref: ref.MustParse(w.Host(own) + "/" + image), Keychain: having(users("u")...), Fresh: true})
		if err != nil {
			t.Error(err)
		}
	}
	ask("app:1")
	w.Change(rules{own: append([]rule{{On: "old/token", Then: answer{Status: http.StatusNotFound}}}, at("new/token")[own]...)})
	ask("app2:1")
	want := []string{
		"HEAD app:1", "GET old/token:app:pull Basic u", "HEAD app:1 Bearer u",
		"GET old/token:app2:pull Basic u", "HEAD app2:1", "GET new/token:app2:pull Basic u", "HEAD app2:1 Bearer u",
	}
	if diff := cmp.Diff(want, w.Requests()); diff != "" {
		t.Errorf("requests -want +got\n%s", diff)
	}
}

// TestTokenExpires checks that a lookup succeeds when the registry has forgotten a token before its
// time, also if its answer is no 401 (R43).
func TestTokenExpires(t *testing.T) {
	for _, code := range []int{http.StatusUnauthorized, http.StatusBadRequest} {
		issued := 0
		host, c := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.Header.Get("Authorization") {
			case fmt.Sprint("Bearer t", issued):
				w.Header().Set("Content-Type", registrytest.ImageType)
				w.Header().Set(digestHeader, sumOfImage)
				_, _ = io.WriteString(w, image) // not of a HEAD
			case "":
				if r.URL.Path == "/token" {
					issued++
					fmt.Fprintf(w, `{"token":"t%d"}`, issued)
					return
				}
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token"`, r.Host))
				w.WriteHeader(http.StatusUnauthorized)
			default:
				w.WriteHeader(code)
			}
		}))
		for i := range 3 {
			if _, err := get(t, c, host+"/app:1"); err != nil {
				t.Errorf("%d, lookup %d: %v", code, i, err)
			}
			issued++ // forgets the last one
		}
	}
}

// TestOddAuth tests authentication.
func TestOddAuth(t *testing.T) { try(t, authCases) }
