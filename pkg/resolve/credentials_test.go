// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// TestCredentialsReadAgain checks that credentials are read again after a refusal.
func TestCredentialsReadAgain(t *testing.T) {
	var asked []bool
	kc := keychain.Func(func(_ context.Context, _ ref.Reference, fresh bool) []keychain.Credential {
		asked = append(asked, fresh)
		if fresh {
			return []keychain.Credential{{Auth: authn.AuthConfig{Username: "new"}}}
		}
		return []keychain.Credential{{Auth: authn.AuthConfig{Username: "old"}}}
	})
	next := resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
		if req.Credentials[0].Auth.Username == "old" {
			return resolve.Result{}, failure.Unauthorized
		}
		return resolve.Result{Digest: "sha256:x"}, nil
	})
	got, err := (&resolve.Credentials{Next: next}).Resolve(t.Context(), resolve.Request{Ref: ref.MustParse("a"), Keychain: kc})
	if err != nil || got.Digest != "sha256:x" || len(asked) != 2 {
		t.Errorf("Resolve = %v, %v after %v", got, err, asked)
	}
}

// TestCredentialsLate checks that no credentials are read after the end of the context.
func TestCredentialsLate(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	asked := 0
	kc := keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
		asked++
		return nil
	})
	c := &resolve.Credentials{Next: &backend{digest: d("D1")}}
	_, err := c.Resolve(ctx, resolve.Request{Ref: ref.MustParse("a.b/c"), Keychain: kc})
	if !errors.Is(err, failure.Unavailable) || asked != 0 {
		t.Errorf("Resolve: %v, credentials read %d times, want unavailable, 0", err, asked)
	}
}
