// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"errors"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
)

// TestKnownRealms checks that a credential is sent to the token endpoints of clouds, and to none
// that only looks like one.
func TestKnownRealms(t *testing.T) {
	for _, tt := range []struct {
		registry, realm string
		want            bool
	}{
		{"registry-1.docker.io", "auth.docker.io", true},
		{"registry.gitlab.com", "gitlab.com", true},
		{"registry.digitalocean.com", "api.digitalocean.com", true},
		{"registry.digitalocean.com", "api.digitalocean.com:8443", false},
		{"registry.digitalocean.com:8443", "api.digitalocean.com", false},
		{"registry.digitalocean.com.evil.example", "api.digitalocean.com", false},
		{"evil.example", "api.digitalocean.com", false},
		{"rg.fr-par.scw.cloud", "api.scaleway.com", true},
		{"rg.nl-ams.scw.cloud", "api.scaleway.com", true},
		{"rg.fr-par.scw.cloud", "api.scaleway.com.evil.example", false},
		{"x.rg.fr-par.scw.cloud", "api.scaleway.com", false},
		{"rgxfr-par.scw.cloud", "api.scaleway.com", false},
		{"registry.cn-hangzhou.aliyuncs.com", "dockerauth.cn-hangzhou.aliyuncs.com", true},
		{"registry.cn-shanghai.aliyuncs.com", "dockerauth.cn-shanghai.aliyuncs.com", true},
		{"registry.cn-shanghai.aliyuncs.com", "dockerauth.cn-hangzhou.aliyuncs.com", true},
		{"registry.aliyuncs.com", "dockerauth.cn-hangzhou.aliyuncs.com", true},
		{"registry.cn-shanghai.aliyuncs.com", "dockerauth.cn-beijing.aliyuncs.com", false},
		{"registry-vpc.cn-chengdu.aliyuncs.com", "dockerauth-vpc.cn-chengdu.aliyuncs.com", true},
		{"registry-intl.us-west-1.aliyuncs.com", "dockerauth.us-west-1.aliyuncs.com", true},
		{"registry-intl-vpc.us-west-1.aliyuncs.com", "dockerauth-vpc.us-west-1.aliyuncs.com", true},
		{"registry.us-west-1.aliyuncs.com", "dockerauth.cn-hangzhou.aliyuncs.com", false},
		{"registry.cn-zhangjiakou.aliyuncs.com", "dockerauth-cn-zhangjiakou.aliyuncs.com", true},
		{"crpi-7s.cn-guangzhou.personal.cr.aliyuncs.com", "dockerauth-cn-guangzhou.aliyuncs.com", true},
		{"crpi-7s.cn-beijing.personal.cr.aliyuncs.com", "dockerauth.cn-hangzhou.aliyuncs.com", true},
		{"crpi-7s.cn-beijing.personal.cr.aliyuncs.com", "dockerauth.cn-shanghai.aliyuncs.com", false},
		{"my-registry.cn-hangzhou.cr.aliyuncs.com", "dockerauth-ee.cn-hangzhou.aliyuncs.com", true},
		{"my-registry-vpc.cn-hangzhou.cr.aliyuncs.com", "dockerauth-ee-vpc.cn-hangzhou.aliyuncs.com", true},
		{"my-registry.ap-southeast-1.cr.aliyuncs.com", "dockerauth.ap-southeast-1.aliyuncs.com", true},
		{"my.cn-hangzhou.cr.aliyuncs.com", "dockerauth.cn-hangzhou.aliyuncs.com", false},
		{"registry.oss-cn-hangzhou.aliyuncs.com", "dockerauth.oss-cn-hangzhou.aliyuncs.com", false}, // a bucket
		{"registry.cn-hangzhou.aliyuncs.com", "dockerauth.oss-cn-hangzhou.aliyuncs.com", false},
		{"registry.cn-hangzhou.aliyuncs.com.evil.example", "dockerauth.cn-hangzhou.aliyuncs.com", false},
		{"evil.registry.cn-hangzhou.aliyuncs.com", "dockerauth.cn-hangzhou.aliyuncs.com", false},
		{"registry.cn-hangzhou.evil.example.aliyuncs.com", "dockerauth.cn-hangzhou.aliyuncs.com", false},
		{"registry.cn-hangzhou.aliyuncs.com", "dockerauth.cn-hangzhou.aliyuncs.com.evil.example", false},
	} {
		r := &Realms{Host: tt.registry}
		c := Challenge{Realm: "https://" + tt.realm + "/auth"}
		_, err := r.Realm(c, authn.AuthConfig{Username: "u", Password: "canary"})
		if (err == nil) != tt.want || err != nil && !errors.Is(err, ErrForeignRealm) {
			t.Errorf("Realm(%s) of %s: %v, want it asked: %t", tt.realm, tt.registry, err, tt.want)
		}
		plain := Challenge{Realm: "http://" + tt.realm + "/auth"}
		if _, err := r.Realm(plain, authn.AuthConfig{Username: "u"}); err == nil {
			t.Errorf("Realm(%s) of %s over HTTP: no error", tt.realm, tt.registry)
		}
	}
}
