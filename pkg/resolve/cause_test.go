// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"context"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// withoutSecret is a Keychain whose pull secret does not exist.
type withoutSecret struct{}

func (withoutSecret) Credentials(context.Context, ref.Reference, bool) []keychain.Credential {
	return nil
}

func (withoutSecret) Explain(_ ref.Reference, all bool) []string {
	reasons := []string{`pull secret "regcred": it does not exist`}
	if all {
		reasons = append(reasons, "and no other")
	}
	return reasons
}

// hidden is an error whose cause is for the operator.
func hidden(class failure.Class) error {
	return failure.WithCause(failure.Errorf(class, "a.b: unreachable"), "a.b: refused by 192.0.2.1")
}

// TestCauseIsKept checks that the cause for the operator comes through all layers, also from
// memory, and that tenants don't read it.
func TestCauseIsKept(t *testing.T) {
	client := &registry.Client{Hosts: []registry.Host{{
		Name: "a.b", Mirrors: []registry.Mirror{{Host: "m.internal", Resolve: true}},
	}}}
	const secret = `; pull secret "regcred": it does not exist`
	for class, want := range map[failure.Class]string{
		failure.Unavailable: secret, failure.Unauthorized: secret + "; and no other",
		failure.NotFound: secret + "; and no other", failure.Invalid: "",
	} {
		next := &backend{err: hidden(class)}
		all := &resolve.Mirrors{Client: client, Next: &resolve.Credentials{
			Next: &resolve.Cache{Next: next, Answers: &resolve.Answers{}, Client: client, Limits: limits},
		}}
		for _, when := range []string{"asked", "from memory"} {
			_, err := all.Resolve(t.Context(), resolve.Request{
				Ref: ref.MustParse("a.b/c:1"), Keychain: withoutSecret{},
			})
			each := "a.b: refused by 192.0.2.1" + want
			if got := failure.Cause(err); got != each+" (mirrors: "+each+")" {
				t.Errorf("%s, %s: Cause = %s, want %s twice", class, when, got, each)
			}
			if strings.Contains(err.Error(), "192.0.2.1") || strings.Contains(err.Error(), "regcred") {
				t.Errorf("%s, %s: %v, which tells the cause", class, when, err)
			}
			if failure.Of(err) != class {
				t.Errorf("%s, %s: class %s", class, when, failure.Of(err))
			}
		}
		next.wantAsked(t, "with the memory", 2)
	}
}
