// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
)

// TestRealms: which token endpoint may see a credential, and which is asked at all.
func TestRealms(t *testing.T) {
	for _, tt := range []struct {
		name, api, realm string
		host             Host
		shown, asked     bool // with a credential, without one
	}{
		{"own", "r.example", "https://r.example/token", Host{}, true, true},
		{"own with a port", "r.example:5000", "https://r.example:5000/token", Host{}, true, true},
		{"another port", "r.example", "https://r.example:8443/token", Host{}, false, true},
		{"Docker Hub", "registry-1.docker.io", "https://auth.docker.io/token", Host{}, true, true},
		{"as if it were Docker Hub", "r.example", "https://auth.docker.io/token", Host{}, false, true},
		{"Docker Hub's look-alike", "registry-1.docker.io", "https://auth.docker.io.evil.example/token", Host{}, false, true},
		{"GitLab", "registry.gitlab.com", "https://gitlab.com/jwt/auth", Host{}, true, true},
		{"named", "r.example", "https://auth.example/token", Host{AuthHosts: []string{"auth.example"}}, true, true},
		{"named but for the port", "r.example", "https://auth.example:8443/token", Host{AuthHosts: []string{"auth.example"}}, false, true},
		{"subdomain", "r.example", "https://auth.r.example/token", Host{}, false, true},
		{"parent", "a.r.example", "https://r.example/token", Host{}, false, true},
		{"other case", "r.example", "https://R.EXAMPLE/token", Host{}, true, true},
		{"own with the default port", "r.example", "https://r.example:0443/token", Host{}, true, true},
		{"the port of HTTP", "r.example", "https://r.example:80/token", Host{}, false, true},
		{
			"named, in another spelling", "r.example", "https://Auth.example/token",
			Host{AuthHosts: []string{"auth.example:443"}},
			true, true,
		},
		{"no host but a port", "r.example", "https://:443/token", Host{}, false, false},
		{"plain", "r.example", "http://r.example/token", Host{}, false, false},
		{"plain as the registry", "r.example", "http://r.example/token", Host{Insecure: true}, true, true},
		{"TLS of a plain registry", "r.example", "https://r.example/token", Host{Insecure: true}, true, true},
		{"user", "r.example", "https://u@r.example/token", Host{}, false, false},
		{"user as host", "r.example", "https://r.example@evil.example/token", Host{}, false, false},
		{"another scheme", "r.example", "file:///etc/passwd", Host{}, false, false},
		{"no host", "r.example", "https:///token", Host{}, false, false},
		{"opaque", "r.example", "https:r.example", Host{}, false, false},
		{"no URL", "r.example", "https://r.example/%zz", Host{}, false, false},
		{"blank", "r.example", "", Host{}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for auth, want := range map[authn.AuthConfig]bool{{Username: "u", Password: "canary"}: tt.shown, {IdentityToken: "canary"}: tt.shown, {}: tt.asked} {
				l := &lookup{host: tt.host, api: tt.api, auth: auth}
				if u, err := l.realm(tt.realm); (err == nil) != want {
					t.Errorf("realm(%s) of %s = %v, %v, want it asked: %t", tt.realm, tt.api, u, err, want)
				}
			}
		})
	}
}
