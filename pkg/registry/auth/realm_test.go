// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
)

// TestRealms checks which token endpoint may see a credential, and which is asked at all.
func TestRealms(t *testing.T) {
	for _, tt := range []struct {
		name, api, realm string
		realms           Realms
		shown, asked     bool // with a credential, without one
	}{
		{"own", "r.example", "https://r.example/token", Realms{}, true, true},
		{"own with a port", "r.example:5000", "https://r.example:5000/token", Realms{}, true, true},
		{"another port", "r.example", "https://r.example:8443/token", Realms{}, false, true},
		{"Docker Hub", "registry-1.docker.io", "https://auth.docker.io/token", Realms{}, true, true},
		{"as if it were Docker Hub", "r.example", "https://auth.docker.io/token", Realms{}, false, true},
		{"Docker Hub's look-alike", "registry-1.docker.io", "https://auth.docker.io.evil.example/token", Realms{}, false, true},
		{"GitLab", "registry.gitlab.com", "https://gitlab.com/jwt/auth", Realms{}, true, true},
		{"another port, of GitLab", "git.example:5005", "https://git.example/jwt/auth", Realms{}, false, true},
		{"the same, named", "git.example:5005", "https://git.example/jwt/auth", Realms{AuthHosts: []string{"git.example"}}, true, true},
		{"named", "r.example", "https://auth.example/token", Realms{AuthHosts: []string{"auth.example"}}, true, true},
		{"named with another port", "r.example", "https://auth.example:8443/token", Realms{AuthHosts: []string{"auth.example"}}, false, true},
		{"subdomain", "r.example", "https://auth.r.example/token", Realms{}, false, true},
		{"parent", "a.r.example", "https://r.example/token", Realms{}, false, true},
		{"other case", "r.example", "https://R.EXAMPLE/token", Realms{}, true, true},
		{"own with the default port", "r.example", "https://r.example:0443/token", Realms{}, true, true},
		{"the port of HTTP", "r.example", "https://r.example:80/token", Realms{}, false, true},
		{
			"named, in another spelling", "r.example", "https://Auth.example/token",
			Realms{AuthHosts: []string{"auth.example:443"}},
			true, true,
		},
		{"no host but a port", "r.example", "https://:443/token", Realms{}, false, false},
		{"plain", "r.example", "http://r.example/token", Realms{}, true, true}, // by https
		{"plain with a port", "r.example:8443", "http://r.example:8443/token", Realms{}, true, true},
		{"plain at the port of HTTP", "r.example", "http://r.example:80/token", Realms{}, false, false},
		{"plain at another host", "r.example", "http://auth.example/token", Realms{AuthHosts: []string{"auth.example"}}, false, false},
		{"plain at another host of a plain registry", "r.example", "http://auth.example/token", Realms{AuthHosts: []string{"auth.example"}, Insecure: true}, false, false},
		{"plain by the config", "r.example", "http://auth.example/token", Realms{AuthHosts: []string{"auth.example"}, Plain: func(host string) bool { return host == "auth.example" }}, true, true},
		{"plain as the registry", "r.example", "http://r.example/token", Realms{Insecure: true}, true, true},
		{"TLS of a plain registry", "r.example", "https://r.example/token", Realms{Insecure: true}, true, true},
		{"user", "r.example", "https://u@r.example/token", Realms{}, false, false},
		{"user as host", "r.example", "https://r.example@evil.example/token", Realms{}, false, false},
		{"another scheme", "r.example", "file:///etc/passwd", Realms{}, false, false},
		{"a host that is not in ASCII", "r.example", "https://ｒ.example/token", Realms{}, false, false},
		{"a host that holds ESC", "r.example", "https://%1b[2Jr.example/token", Realms{}, false, false},
		{"no host", "r.example", "https:///token", Realms{}, false, false},
		{"opaque", "r.example", "https:r.example", Realms{}, false, false},
		{"no URL", "r.example", "https://r.example/%zz", Realms{}, false, false},
		{"blank", "r.example", "", Realms{}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.realms.Host = tt.api
			for a, want := range map[authn.AuthConfig]bool{
				{Username: "u", Password: "canary"}: tt.shown,
				{IdentityToken: "canary"}:           tt.shown,
				{}:                                  tt.asked,
			} {
				u, err := tt.realms.Realm(Challenge{Realm: tt.realm}, a)
				if (err == nil) != want {
					t.Errorf("Realm(%s) of %s = %v, %v, want it asked: %t", tt.realm, tt.api, u, err, want)
				}
			}
		})
	}
}

// TestScope checks that a token endpoint is remembered only for those repositories whose server can
// be behind it.
func TestScope(t *testing.T) {
	r := &Realms{Host: "r.example", AuthHosts: []string{"login.example"}}
	for realm, want := range map[string]Scope{
		"https://r.example/token":                             Beside,
		"https://r.example/token/":                            Beside,
		"https://r.example/artifactory/api/docker/a/v2/token": Beside,
		"https://R.example:0443/service/token":                Beside,
		"https://login.example/token":                         All,
		"https://r.example/v2/token":                          Repository, // one more request for each repository
		"https://r.example/v2/team-a/":                        Repository,
		"https://r.example/v2/team-a":                         Repository,
		"https://r.example/v2/team-b/token":                   Repository,
		"https://r.example/v2/team-a/../../token":             Repository,
		"https://r.example/v2/team-a/%2e%2e/%2e%2e/token":     Repository,
		"https://r.example//v2/team-a/token":                  Repository,
		"https://evil.example/token":                          Repository,
	} {
		if got := r.Scope(Challenge{Realm: realm}); got != want {
			t.Errorf("Scope(%s) = %v, want %v", realm, got, want)
		}
	}
	r.API = "/hub/v2"
	for realm, want := range map[string]Scope{
		"https://r.example/token": Beside, "https://r.example/hub/token": Beside, "https://r.example/hub/v2x": Beside,
		"https://r.example/hub/v2": Repository, "https://r.example/hub/v2/token": Repository, "https://r.example/v2/token": Repository,
	} {
		if got := r.Scope(Challenge{Realm: realm}); got != want {
			t.Errorf("Scope(%s) of an API at %s = %v, want %v", realm, r.API, got, want)
		}
	}
	r.API = "/"
	if got := r.Scope(Challenge{Realm: "https://r.example/token"}); got != Repository {
		t.Errorf("Scope(https://r.example/token) of an API at / = %v, want %v", got, Repository)
	}
}
