// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// refusal is a registry's answer to a login that it does not accept.
func refusal() *Error { return &Error{Host: "r.example", Status: 401, login: true} }

// A wrong name of one repository is not held against the credential: many namespaces may hold it.
func TestRefusedInOneRepository(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		for range 10 {
			at(g, "team/typo", "u", false).judge(refusal())
			if closed(g, at(g, "team/typo", "u", false).gates()) == nil {
				t.Error("the login may be shown to the repository again, want its gate closed")
			}
			if err := closed(g, at(g, "team/app", "u", false).gates()); err != nil {
				t.Errorf("another repository: %v", err)
			}
			time.Sleep(refusedLogin.most)
		}
	})
}

// A login that several repositories refuse is wrong: registries lock the user out after a few more.
// From then on one request at a time tries it, until it is accepted.
func TestRefusedInSeveralRepositories(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		other := at(g, "team/app", "u", false)
		for i := range wrongLogin.repositories {
			if err := closed(g, other.gates()); err != nil {
				t.Fatalf("after %d refusals: %v", i, err)
			}
			at(g, fmt.Sprint("team/", i), "u", false).judge(refusal())
		}
		for _, want := range []time.Duration{30, 60, 120} {
			err := AsError(closed(g, other.gates()))
			if err == nil || err.RetryAfter != want*time.Second {
				t.Errorf("check = %v, want the credential's gate closed for %ds", err, want)
			}
			time.Sleep(want * time.Second)
			held, passErr := pass(t.Context(), g, other.gates())
			if passErr != nil {
				t.Fatal(passErr)
			}
			other.judge(refusal())
			g.done(held, true)
		}
		if err := closed(g, at(g, "team/app", "v", false).gates()); err != nil {
			t.Errorf("another credential: %v", err)
		}
	})
}

// Refusals count only if the login is not accepted meanwhile, and only for a while.
func TestRefusalsAreForgotten(t *testing.T) {
	for name, between := range map[string]func(*lookup){
		"accepted": func(l *lookup) { l.state.gates.succeeded(l.login()) },
		"long ago": func(*lookup) { time.Sleep(maxRetryAfter) },
		"a limit is no refusal": func(l *lookup) {
			l.judge(&Error{Status: 429, RetryAfter: time.Second})
			l.state.gates.succeeded(l.login())
			time.Sleep(time.Second)
		},
		"of all namespaces' credential": func(l *lookup) { l.req.Shared = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGates()
				for i := range 3 * wrongLogin.repositories {
					l := at(g, fmt.Sprint("team/", i), "u", false)
					between(l)
					l.judge(refusal())
				}
				if err := closed(g, at(g, "team/app", "u", false).gates()); err != nil {
					t.Errorf("check = %v, want the credential's gate open", err)
				}
			})
		})
	}
}

// What is remembered of refusals has a bound: tenants choose credentials and repositories.
func TestRefusalsAreBounded(t *testing.T) {
	g := newGates()
	for i := range 2 * maxGates {
		g.enough(gateKey{host: fmt.Sprint(i)}, wrongLogin, "a", "", refusal())
		g.enough(gateKey{host: "r.example"}, wrongLogin, fmt.Sprint(i), "", refusal())
	}
	r, _ := g.failures.Get(gateKey{host: "r.example"})
	if g.failures.Len() != maxGates || len(r.value) != wrongLogin.repositories {
		t.Errorf("%d credentials, %d repositories, want %d and %d",
			g.failures.Len(), len(r.value), maxGates, wrongLogin.repositories)
	}
}
