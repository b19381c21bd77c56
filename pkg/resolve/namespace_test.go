// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
)

// A namespace that has had its logins closed by wrong ones does not have that remembered for
// another namespace that holds the same good credential.
func TestClosedLoginsAreNotRemembered(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, _, _ := r.BasicAuth(); user != "good" {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		w.Header().Set("Docker-Content-Digest", resolvetest.Digest("it").String())
	}))
	defer s.Close()
	client := &registry.Client{
		Network: network.Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs,
	}
	defer client.Close()
	answers := &resolve.Answers{}
	defer answers.Close()
	cached := &resolve.Cache{Next: &resolve.Registry{Client: client}, Answers: answers}
	ask := func(namespace, image string, fresh bool, users ...string) error {
		request := resolve.Request{
			Ref: ref.MustParse(strings.TrimPrefix(s.URL, "https://") + "/" + image), Namespace: namespace, Fresh: fresh,
		}
		for _, user := range users {
			auth := authn.AuthConfig{Username: user, Password: "p"}
			request.Credentials = append(request.Credentials, keychain.Credential{Auth: auth})
		}
		_, err := cached.Resolve(t.Context(), request)
		return err
	}
	if err := ask("b", "app:1", true, "good"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // at most 16 are tried at once
		var wrong []string
		for j := range 6 {
			wrong = append(wrong, fmt.Sprint("wrong-", i, j))
		}
		if ask("a", "app:1", true, wrong...) == nil {
			t.Fatal("a wrong login was accepted")
		}
	}
	if err := ask("a", "app:1", true, "good"); err == nil || !strings.Contains(err.Error(), "of this namespace were refused") {
		t.Errorf("the namespace with the wrong logins: %v, want its logins closed", err)
	}
	for _, fresh := range []bool{false, true} {
		if err := ask("b", "app:1", fresh, "good"); err != nil {
			t.Errorf("another namespace, fresh %t: %v", fresh, err)
		}
	}
}
