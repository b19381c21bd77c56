// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/keychain"
)

// TestIdentityTokensComeLast checks that the identity tokens beside passwords take no password's
// place among those that are tried.
func TestIdentityTokensComeLast(t *testing.T) {
	for secrets, want := range map[int]int{1: 2, 10: 16, 16: 16} {
		var credentials []keychain.Credential
		for i := range secrets {
			auth := authn.AuthConfig{Username: fmt.Sprint(i), Password: "p", IdentityToken: "t"}
			credentials = append(credentials, keychain.Credential{Auth: auth})
		}
		found, _ := candidates(credentials)
		if len(found) != want+1 || found[want] != (keychain.Credential{}) {
			t.Errorf("%d secrets: %d candidates, want %d and none", secrets, len(found), want)
		}
		for i, c := range found[:secrets] {
			if c.Auth.Username != fmt.Sprint(i) || c.Auth.IdentityToken != "" {
				t.Errorf("%d secrets: candidate %d is %+v, want the password of secret %d", secrets, i, c, i)
			}
		}
	}
}
