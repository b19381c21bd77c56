// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseChallenges(t *testing.T) {
	bearer := func(realm, service string) *Challenge {
		return &Challenge{Realm: realm, Service: service}
	}
	basic := &Challenge{Basic: true}
	for _, tt := range []struct {
		name    string
		headers []string
		want    *Challenge
	}{
		{"none", nil, nil},
		{"empty", []string{""}, nil},
		{"basic", []string{`Basic realm="Registry"`}, basic},
		{"basic alone", []string{"basic"}, basic},
		{"bearer", []string{`Bearer realm="https://a.example/token",service="s",scope="repository:a:pull"`}, bearer("https://a.example/token", "s")},
		{"other case and blanks", []string{`  bEARER  REALM = "https://a.example" , Service = s `}, bearer("https://a.example", "s")},
		{"without quotes", []string{`Bearer realm=https://a.example/token?x=y,service=s`}, bearer("https://a.example/token?x=y", "s")},
		{"escaped", []string{`Bearer realm="https://a.example/\"x\\",service=""`}, bearer(`https://a.example/"x\`, "")},
		{"a comma in quotes", []string{`Bearer scope="repository:a:pull,push",realm="https://a.example"`}, bearer("https://a.example", "")},
		{"the first of a name", []string{`Bearer realm="https://a.example",realm="https://b.example"`}, bearer("https://a.example", "")},
		{"bearer without a realm", []string{`Bearer service="s"`}, nil},
		{"two headers", []string{`Basic realm="r"`, `Bearer realm="https://a.example"`}, bearer("https://a.example", "")},
		{"two in a header", []string{`Basic realm="a, b", Bearer realm="https://a.example",service="s"`}, bearer("https://a.example", "s")},
		{"two the other way", []string{`Bearer service="s", realm="https://a.example", Basic realm="r"`}, bearer("https://a.example", "s")},
		{"after another scheme", []string{`Negotiate, NTLM TlRMTVNTUAAB==, Basic realm="r"`}, basic},
		{"bearer within quotes", []string{`Basic realm="x, Bearer realm=\"https://evil.example\""`}, basic},
		{"unknown", []string{`Digest realm="r", nonce="n"`}, nil},
		{"quotes left open", []string{`Bearer realm="https://a.example`}, bearer(`"https://a.example`, "")},
		{"no names", []string{`=,"",;;, Basic`}, basic},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, ParseChallenges(tt.headers, "")); diff != "" {
				t.Errorf("ParseChallenges(%q) -want +got\n%s", tt.headers, diff)
			}
		})
	}
}

// FuzzParseChallenges checks that any header can be parsed, and that a realm is a part of it.
func FuzzParseChallenges(f *testing.F) {
	f.Add(`Basic realm="a, b", Bearer realm="https://a.example",service="s"`)
	f.Add(`Negotiate abc==, =,"\`)
	f.Fuzz(func(t *testing.T, header string) {
		if c := ParseChallenges([]string{header}, ""); c != nil && (len(c.Realm) > len(header) || !c.Basic && c.Realm == "") {
			t.Errorf("ParseChallenges(%q) = %q", header, c.Realm)
		}
	})
}

// TestPrefix checks which part of a challenge's scope says where a registry has a repository.
func TestPrefix(t *testing.T) {
	for _, tt := range []struct{ scope, repository, want string }{
		{"repository:library/nginx:pull", "library/nginx", ""},
		{"repository:hub/library/nginx:pull", "library/nginx", "hub/"},
		{"registry:catalog:* repository:a/b/library/nginx:pull,push", "library/nginx", "a/b/"},
		{"repository:secret:pull", "library/nginx", ""},
		{"repository:my-library/nginx:pull", "library/nginx", ""},
		{"repository:r.example:5000/library/nginx:pull", "library/nginx", "r.example:5000/"},
		{"repository:hub/library/nginx", "library/nginx", ""},
		{"repository:" + strings.Repeat("x", 300) + "/a:pull", "a", ""},
		{"repository:hub/:pull", "", ""},
		{"repository:", "a", ""},
		{"", "a", ""},
	} {
		header := `Bearer realm="https://r.example/token",scope="` + tt.scope + `"`
		if c := ParseChallenges([]string{header}, tt.repository); c.Prefix != tt.want {
			t.Errorf("prefix of %q in %q = %q, want %q", tt.repository, tt.scope, c.Prefix, tt.want)
		}
	}
}
