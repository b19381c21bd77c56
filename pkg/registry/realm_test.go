// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
)

// TestRealmOnAnotherPort checks that a credential is sent to a token endpoint on another port of
// the registry's host only if the config names it, and that the error names the field.
func TestRealmOnAnotherPort(t *testing.T) {
	refuse := func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "canary" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`{"token":"canary"}`))
	}
	realmServer, realm := serve(t, http.HandlerFunc(refuse), true)
	var image digests
	_, host, c := registry.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer canary" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+realm+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		image.ServeHTTP(w, r)
	})
	c.Network.Roots.AddCert(realmServer.Certificate())
	login := keychain.Credential{Auth: authn.AuthConfig{Username: "u", Password: "canary"}}
	const is = "its token realm is on another host or port, "
	for explain, want := range map[bool]string{
		true:  "; if you trust it, name it by authHosts in the file of --config",
		false: "; see authHosts",
	} {
		other := &registry.Client{Network: c.Network, ExplainAll: explain}
		t.Cleanup(other.Close)
		_, err := other.Digest(t.Context(), registry.Request{
			Ref: ref.MustParse(host + "/app:1"), Credentials: []keychain.Credential{login},
		})
		if !errors.Is(err, registry.ErrForeignRealm) || !errors.Is(err, failure.Unauthorized) ||
			!strings.HasSuffix(err.Error(), ": "+is+realm+want) {
			t.Errorf("Digest with ExplainAll %t: %v, want %s%s%s", explain, err, is, realm, want)
		}
	}
	c.Hosts = []registry.Host{{Name: host, AuthHosts: []string{realm}}}
	if got := digest(t, c, host+"/app:1", login); got != someDigest {
		t.Errorf("Digest with authHosts = %s, want %s", got, someDigest)
	}
}
