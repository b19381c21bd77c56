// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// refusal returns the error of a login that a registry does not accept.
func refusal() *requestError { return &requestError{host: "r.example", status: 401, login: true} }

// TestRefusedInOneRepository checks that a refusal by one repository does not stop the credential
// in others: many namespaces may have the credential, and one of them a wrong name.
func TestRefusedInOneRepository(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		for range 10 {
			at(g, "team/typo", "u", false).judge(refusal())
			if closed(g, at(g, "team/typo", "u", false).gates()) == nil {
				t.Error("the gate of the login in the repository is open, want it closed")
			}
			if err := closed(g, at(g, "team/app", "u", false).gates()); err != nil {
				t.Errorf("another repository: %v", err)
			}
			time.Sleep(refusedLogin.most)
		}
	})
}

// TestRefusedInSeveralRepositories checks that a login that several repositories refuse is stopped,
// because registries lock a user out after some more refusals. Then one request at a time tries it.
func TestRefusedInSeveralRepositories(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		other := at(g, "team/app", "u", false)
		for i := range maxRefusing {
			if err := closed(g, other.gates()); err != nil {
				t.Fatalf("after %d refusals: %v", i, err)
			}
			at(g, fmt.Sprint("team/", i), "u", false).judge(refusal())
		}
		for _, want := range []time.Duration{30, 60, 120} {
			err := asError(closed(g, other.gates()))
			if err == nil || err.retryAfter != want*time.Second {
				t.Errorf("gate: %v, want the credential's gate closed for %ds", err, want)
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

// TestRefusalsAreForgotten checks that refusals count only if the login is not accepted between
// them, and only for a while.
func TestRefusalsAreForgotten(t *testing.T) {
	for name, between := range map[string]func(*lookup){
		"accepted": func(l *lookup) { l.accepted() },
		"long ago": func(*lookup) { time.Sleep(maxRetryAfter) },
		"a limit is no refusal": func(l *lookup) {
			l.judge(&requestError{status: 429, retryAfter: time.Second})
			l.accepted()
			time.Sleep(time.Second)
		},
		"of all namespaces' credential": func(l *lookup) { l.credential.Shared = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGates()
				for i := range 3 * maxRefusing {
					l := at(g, fmt.Sprint("team/", i), "u", false)
					between(l)
					l.judge(refusal())
				}
				if err := closed(g, at(g, "team/app", "u", false).gates()); err != nil {
					t.Errorf("gate: %v, want the credential's gate open", err)
				}
			})
		})
	}
}

// TestRefusalsAreBounded checks that what is remembered of refusals is bounded, because tenants
// choose credentials and repositories.
func TestRefusalsAreBounded(t *testing.T) {
	g := newGates()
	for i := range 2 * maxGates {
		g.refuse(gateKey{origin: fmt.Sprint(i)}, maxRefusing, "a", "")
		g.refuse(gateKey{origin: "r.example"}, maxRefusing, fmt.Sprint(i), "")
	}
	r, _ := g.refusals.Get(gateKey{origin: "r.example"})
	if g.refusals.Len() != maxGates || len(r) != maxRefusing {
		t.Errorf("%d credentials and %d repositories are remembered, want %d and %d",
			g.refusals.Len(), len(r), maxGates, maxRefusing)
	}
}

// TestOldRefusalsDoNotCount checks that a refusal counts for its own time, however many come later.
func TestOldRefusalsDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		for i := range 10 {
			at(g, fmt.Sprint("team/", i), "u", false).judge(refusal())
			time.Sleep(maxRetryAfter/(maxRefusing-1) + time.Second)
		}
		if err := closed(g, at(g, "team/app", "u", false).gates()); err != nil {
			t.Errorf("gate: %v, want the credential's gate open", err)
		}
	})
}

// TestManyRefusedLogins checks that a namespace with many refused logins shows the registry no more
// logins for a while. Anonymous requests, shared credentials and other namespaces go on.
func TestManyRefusedLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		from := func(namespace, user string, shared bool) *lookup {
			l := at(g, "team/app", user, shared)
			l.Namespace = namespace
			return l
		}
		shown := 0
		for i := range 100 {
			l := from("a", fmt.Sprint("u", i), false)
			if closed(g, l.gates()) == nil {
				shown++
				l.judge(refusal())
			}
		}
		if shown != 16 {
			t.Errorf("%d wrong logins were shown, want 16", shown)
		}
		const says = "r.example: too many different credentials of this namespace were refused; " +
			"remove the old ones; none is shown for 30s"
		if err := closed(g, from("a", "v", false).gates()); err == nil || err.Error() != says {
			t.Errorf("gate of the namespace: %v, want %s", err, says)
		}
		for name, l := range map[string]*lookup{
			"no credential": from("a", "", false), "shared": from("a", "v", true),
			"another namespace": from("b", "v", false),
		} {
			if err := closed(g, l.gates()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		time.Sleep(30 * time.Second)
		shown = 0
		for i := range 100 { // one of the logins may have been renewed
			l := from("a", fmt.Sprint("u", i), false)
			held, err := pass(t.Context(), g, l.gates()[4:])
			if err != nil {
				continue
			}
			shown++
			l.judge(refusal())
			g.done(held, true)
		}
		e := asError(closed(g, from("a", "v", false).gates()))
		if shown != 16 || e == nil || e.retryAfter != 30*time.Second {
			t.Errorf("%d wrong logins were shown then, want 16; gate: %v, want it closed for 30s", shown, e)
		}
	})
}

// TestAcceptedLogin checks that refused logins of a namespace count even if another login is
// accepted between them. A login that is accepted itself no longer counts.
func TestAcceptedLogin(t *testing.T) {
	for name, tt := range map[string]struct {
		accepted string
		shared   bool
		open     bool
	}{
		"another one":     {"right", false, false},
		"none":            {"", false, false},
		"a shared one":    {"right", true, false},
		"one of them all": {"u3", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGates()
			for i := range maxRefused {
				at(g, "team/b", tt.accepted, tt.shared).accepted()
				at(g, "team/app", fmt.Sprint("u", i), false).judge(refusal())
				at(g, "team/b", tt.accepted, tt.shared).accepted()
			}
			err := closed(g, at(g, "team/app", "v", false).gates())
			if (err == nil) != tt.open {
				t.Errorf("gate of the namespace: %v, want it open: %t", err, tt.open)
			}
		})
	}
}

// TestLastCredentialIsTried checks that a lookup can show the last of its credentials, however
// often the others were refused.
func TestLastCredentialIsTried(t *testing.T) {
	g := newGates()
	for i := range 10 * maxRefused {
		user := fmt.Sprint("u", i%(maxRefused-1))
		at(g, fmt.Sprint("team/", i), user, false).judge(refusal())
	}
	if err := closed(g, at(g, "team/app", "right", false).gates()); err != nil {
		t.Error(err)
	}
}
