// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// TestCredentialsReadAgain checks that credentials are read again after a refusal, also if the
// registry was unavailable to the next credential.
func TestCredentialsReadAgain(t *testing.T) {
	for _, refusal := range []error{
		failure.Unauthorized, failure.New(failure.Unavailable, registry.ErrRefused),
	} {
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
				return resolve.Result{}, refusal
			}
			return resolve.Result{Digest: "sha256:x"}, nil
		})
		req := resolve.Request{Ref: ref.MustParse("a"), Keychain: kc}
		got, err := (&resolve.Credentials{Next: next}).Resolve(t.Context(), req)
		if err != nil || got.Digest != "sha256:x" || len(asked) != 2 {
			t.Errorf("refused as %v: Resolve = %v, %v after %v", refusal, got, err, asked)
		}
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

// TestCredentialsAreBounded checks that waiting lookups of one namespace hold few large
// credentials, that small ones need no room, and that another namespace finds some.
func TestCredentialsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &backend{digest: d("D1"), hold: make(chan struct{})}
		c := &resolve.Credentials{Next: next, Room: resolve.CredentialRoom()}
		having := func(n, size int) keychain.Keychain {
			auth := authn.AuthConfig{Username: "u", Password: strings.Repeat("p", size)}
			return keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
				return slices.Repeat([]keychain.Credential{{Auth: auth}}, n)
			})
		}
		begin := func(namespace string, lookups, n, size int) {
			for range lookups {
				go func() {
					_, _ = c.Resolve(t.Context(), resolve.Request{
						Ref: ref.MustParse("a.b/c"), Namespace: namespace, Sender: "api", Keychain: having(n, size),
					})
				}()
			}
			synctest.Wait()
		}
		begin("evil", 512, 16, 16<<10-1)
		next.wantAsked(t, "large ones", 16) // of 256 KiB
		begin("evil", 1000, 1, 4<<10-1)
		next.wantAsked(t, "with small ones", 1016)
		begin("honest", 1, 16, 16<<10-1)
		next.wantAsked(t, "of another namespace", 1017)
		close(next.hold)
	})
}
