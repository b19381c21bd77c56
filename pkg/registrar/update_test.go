// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tagpin/tagpin/pkg/registration"
)

// TestRulesWaitForTheService checks that the registration has no rules before the webhook was
// reached through its Service, several times in a row.
func TestRulesWaitForTheService(t *testing.T) {
	w := newFixture(t)
	w.unreached = errors.New("connection refused")
	w.want("no endpoint", 5, 0, 0, 0)
	if !strings.Contains(w.logged.Text, "not reached through its Service yet: connection refused") {
		t.Errorf("logged %q, want the reason", w.logged.Text)
	}
	w.unreached = nil
	w.want("reached once", enoughReached-1, 0, 0, 0)
	w.unreached = errors.New("connection refused")
	w.want("not reached again", 1, 0, 0, 0)
	w.unreached = nil
	w.want("reached once more", enoughReached-1, 0, 0, 0)
	w.want("reached often enough", 2, 3, 0, 3)
	w.unreached = errors.New("connection refused")
	w.with = &registration.Registration{PodsOnly: true}
	w.want("another config, while there are rules", 1, 1, 0, 1)
}

// TestServiceIsNeverReached checks that the rules are written after a minute if the server can't
// reach its own Service.
func TestServiceIsNeverReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		var text strings.Builder
		w.Log = funcr.New(func(_, line string) { text.WriteString(line) }, funcr.Options{})
		w.unreached = errors.New("i/o timeout")
		w.look(t.Context())
		w.look(t.Context())
		time.Sleep(reachPatience - time.Second)
		w.want("within a minute", 1, 0, 0, 0)
		time.Sleep(time.Second)
		w.want("after a minute", 1, 3, 0, 3)
		said := text.String()
		got := strings.Count(said, "gets its rules anyway")
		if got != 1 || !strings.Contains(said, "i/o timeout") {
			t.Errorf("logged %d times that it was not reached, want once, with the reason:\n%s", got, said)
		}
		w.change(clearRules)
		w.want("rules removed: another minute begins", 3, 0, 0, 0)
	})
}

func podsOnly() *registration.Registration { return &registration.Registration{PodsOnly: true} }

// TestFailsOpen checks that a registration that fails open gets no rules for workloads. If somebody
// lets it fail open later, its rules stay: without those for workloads, the next apply of a
// workload would remove its pin.
func TestFailsOpen(t *testing.T) {
	w := newFixture(t)
	policy := func(p admissionregistrationv1.FailurePolicyType) {
		w.change(func(c *configuration) { c.Webhooks[2].FailurePolicy = &p })
	}
	wantRefused := func(when string, rules int) {
		t.Helper()
		w.want(when, 3, rules, 0, rules)
		for _, part := range []string{
			"webhook keep.tagpin.dev", "failing open requires that only pods are pinned",
			"set registration.pin to [pods]",
		} {
			if !strings.Contains(w.logged.Text, part) {
				t.Errorf("%s: logged %q, want %q in it", when, w.logged.Text, part)
			}
		}
	}
	policy(admissionregistrationv1.Ignore)
	wantRefused("workloads, no rules yet", 0)
	w.with = podsOnly()
	w.want("pods", 6, 1, 0, 1)
	w.with = &registration.Registration{IgnoreRestart: true}
	wantRefused("workloads are added", 1)
	policy(admissionregistrationv1.Fail)
	w.want("it fails closed", 6, 3, 0, 3)
	policy(admissionregistrationv1.Ignore)
	wantRefused("it fails open later", 3)
	w.with = podsOnly()
	w.want("pods again", 6, 1, 0, 1)
}

// TestOlderServerReloadsLast checks that an old server that reloads its config last, during an
// upgrade, does not write its old conditions.
func TestOlderServerReloadsLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		old := w.replica()
		w.Version = "v1.1.0"
		w.want("newer server", 6, 3, 0, 3)
		time.Sleep(time.Hour) // until the CA is settled
		agrees := func(r *Registrar) float64 {
			return testutil.ToFloat64(r.asWanted.WithLabelValues("enforce.tagpin.dev"))
		}
		if old.look(t.Context()); agrees(old) != 1 {
			t.Error("as wanted by the older server = 0, want 1: the rules are equal")
		}
		old.Wanted = podsOnly
		for range 3 {
			if wait := old.look(t.Context()); wait != later {
				t.Errorf("older server: look = %v, want %v", wait, later)
			}
		}
		w.want("older server, other config", 0, 3, 0, 3)
		if w.look(t.Context()); agrees(old) != 0 || agrees(w.Registrar) != 1 {
			t.Errorf("as wanted by the older server = %v, by the newer one = %v, want 0 and 1",
				agrees(old), agrees(w.Registrar))
		}
		if got := w.live().Annotations[writtenBy]; old.logged.Text != waitsForOtherVersion || got != "v1.1.0" {
			t.Errorf("older server: logged %q; written by %q, want v1.1.0", old.logged.Text, got)
		}
		w.change(func(c *configuration) {
			delete(c.Annotations, writtenBy)
		})
		old.look(t.Context())
		w.want("older server, without the annotation", 0, 1, 0, 1)
		w.look(t.Context())
		w.with = &registration.Registration{IgnoreRestart: true}
		w.want("newer server, other config", 2, 3, 0, 3)
		w.change(clearRules)
		for range 6 {
			old.look(t.Context())
		}
		w.want("older server, after the rules were removed", 0, 1, 0, 1)
	})
}

// TestOlderCopy checks that a registration that somebody replaces by an older copy of it gets its
// rules again, also if another version has written the copy. Two servers that want different rules
// don't replace each other's.
func TestOlderCopy(t *testing.T) {
	for _, version := range []string{"v1.0.0", "v0.9.0"} {
		synctest.Test(t, func(t *testing.T) {
			w := newFixture(t)
			first := w.replica()
			first.Version, first.Image = version, "r/tagpin:1"
			w.Image = "r/tagpin:2"
			w.change(func(c *configuration) {
				c.Annotations = map[string]string{wantedImage: "r/tagpin:1"}
			})
			for range 6 {
				first.look(t.Context())
			}
			before := w.live()
			w.change(func(c *configuration) {
				c.Annotations[wantedImage] = "r/tagpin:2"
			})
			time.Sleep(time.Hour) // until the CA is settled
			w.with = podsOnly()
			w.want("after the upgrade", 6, 1, 0, 1)
			second := w.replica()
			second.Image = w.Image
			second.look(t.Context())
			w.change(func(c *configuration) {
				c.Webhooks, c.Annotations = before.Webhooks, before.Annotations
			})
			w.want("replaced by the copy", 6, 1, 0, 1)
			if got := w.live().Annotations; got[writtenTimes] != "3" || got[writtenBy] != "v1.0.0 r/tagpin:2" {
				t.Errorf("%s: annotations = %v, want those of a third write by v1.0.0", version, got)
			}
			second.Wanted = func() *registration.Registration { return &registration.Registration{} }
			for range 6 {
				second.look(t.Context())
				w.look(t.Context())
			}
			if got := w.live().Annotations[writtenTimes]; got != "4" {
				t.Errorf("%s: written %s times, want 4, once for the other config of the second server", version, got)
			}
		})
	}
}

// TestOlderCopyAgain checks that a server does not fight without end against a program that puts
// back an older copy again and again.
func TestOlderCopyAgain(t *testing.T) {
	w := newFixture(t)
	w.want("at first", 6, 3, 0, 3)
	before := w.live()
	w.with = podsOnly()
	for range 2 * maxRepairs {
		w.look(t.Context())
		w.change(func(c *configuration) {
			c.Webhooks, c.Annotations = before.Webhooks, before.Annotations
		})
	}
	if got := testutil.ToFloat64(w.updates.WithLabelValues("updated")); got > maxRepairs+6 {
		t.Errorf("%v updates, want no more than %d repairs", got, maxRepairs)
	}
}

// TestOlderCopyWithEqualRules checks that an older copy that has the wanted rules already is not
// repaired again and again, so that a real edit is repaired after it.
func TestOlderCopyWithEqualRules(t *testing.T) {
	w := newFixture(t)
	w.want("at first", 6, 3, 0, 3)
	before := w.live()
	w.with = podsOnly()
	w.want("other config", 6, 1, 0, 1)
	w.with = &registration.Registration{}
	w.want("the config of before", 6, 3, 0, 3)
	w.change(func(c *configuration) {
		c.Webhooks, c.Annotations = before.Webhooks, before.Annotations
	})
	for range 2 * maxRepairs {
		w.look(t.Context())
	}
	w.change(func(c *configuration) { c.Webhooks[0].Rules = c.Webhooks[0].Rules[:1] })
	w.want("edited", 6, 3, 0, 3)
}

// TestWriterRemoved checks that the rules are written again if somebody removes the annotation that
// names their writer, as the runbook says.
func TestWriterRemoved(t *testing.T) {
	w := newFixture(t)
	w.want("at first", 6, 3, 0, 3)
	w.change(func(c *configuration) {
		c.Webhooks[0].Rules = c.Webhooks[0].Rules[:1]
		c.Annotations[writtenRules] = hashRules(c)
	})
	w.want("rules of another server", 6, 1, 0, 3)
	w.change(func(c *configuration) { delete(c.Annotations, writtenBy) })
	w.want("its name removed", 6, 3, 0, 3)
}

// TestRollBack checks that the older server writes the rules when the manifests want its image.
func TestRollBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		old := w.replica()
		w.Version, w.Image = "v1.1.0", "r/tagpin:2"
		old.Image = "r/tagpin:1"
		w.change(func(c *configuration) {
			c.Annotations = map[string]string{wantedImage: "r/tagpin:2", "a": "b"}
		})
		w.want("at first", 6, 3, 0, 3)
		time.Sleep(time.Hour) // until the CA is settled
		old.Wanted = podsOnly
		old.look(t.Context())
		w.want("before the rollback", 0, 3, 0, 3)
		w.change(func(c *configuration) {
			c.Annotations[wantedImage] = "r/tagpin:1"
		})
		old.look(t.Context())
		w.want("after the rollback", 0, 1, 0, 1)
		w.with = &registration.Registration{IgnoreRestart: true}
		w.look(t.Context())
		w.want("newer server, other config", 0, 1, 0, 1)
		if got := w.live().Annotations; got[writtenBy] != "v1.0.0 r/tagpin:1" || got["a"] != "b" {
			t.Errorf("annotations = %v, want the older server's, and the others unchanged", got)
		}
	})
}

// TestOwnedByItsNamespace checks that the registration depends on its namespace, unless Argo CD
// manages it.
func TestOwnedByItsNamespace(t *testing.T) {
	w := newFixture(t)
	foreign := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "c", UID: "c"}
	gone := metav1.OwnerReference{APIVersion: "v1", Kind: "Namespace", Name: ownSpace, UID: "gone"}
	own := metav1.OwnerReference{APIVersion: "v1", Kind: "Namespace", Name: ownSpace, UID: "space"}
	owners := func(when string, want ...metav1.OwnerReference) {
		t.Helper()
		w.look(t.Context())
		if got := w.live().OwnerReferences; !slices.Equal(got, want) {
			t.Errorf("%s: owners = %v, want %v", when, got, want)
		}
	}
	w.change(func(c *configuration) {
		c.OwnerReferences = []metav1.OwnerReference{foreign, gone}
	})
	owners("no rules", foreign, gone)
	w.want("at first", 6, 3, 0, 3)
	owners("rules", foreign, own)
	w.change(func(c *configuration) { c.OwnerReferences = nil })
	owners("owners removed", own)
	w.change(func(c *configuration) {
		c.Annotations["argocd.argoproj.io/tracking-id"] = "tagpin:…/MutatingWebhookConfiguration:/zz-tagpin"
	})
	owners("managed by Argo CD")
}

// TestNamespaceCannotBeRead checks that the rules are written if the namespace can't be read. The
// Registrar tries to read it again, unless that is forbidden.
func TestNamespaceCannotBeRead(t *testing.T) {
	namespaces := schema.GroupResource{Resource: "namespaces"}
	for name, tt := range map[string]struct {
		err   error
		reads int
	}{
		"forbidden":   {apierrors.NewForbidden(namespaces, ownSpace, errors.New("no role")), 1},
		"unavailable": {apierrors.NewServiceUnavailable("later"), 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			reads, err := 0, tt.err
			w.client.PrependReactor("get", "namespaces",
				func(clienttesting.Action) (bool, runtime.Object, error) {
					reads++
					return err != nil, nil, err
				})
			w.want("at first", 6, 3, 0, 3)
			w.look(t.Context())
			w.look(t.Context())
			if reads < tt.reads || tt.reads == 1 && reads > 1 || len(w.live().OwnerReferences) > 0 {
				t.Errorf("%d reads, want %d; owners = %v", reads, tt.reads, w.live().OwnerReferences)
			}
			failures := testutil.ToFloat64(w.updates.WithLabelValues("failed"))
			if (failures > 0) != (tt.reads > 1) {
				t.Errorf("%v failures counted; logged %q", failures, w.logged.Text)
			}
			err = nil
			w.look(t.Context())
			if owned := len(w.live().OwnerReferences) == 1; owned != (tt.reads > 1) {
				t.Errorf("readable again: owners = %v", w.live().OwnerReferences)
			}
		})
	}
}

// replaceBoth empties the secret and the registration, as helm upgrade --force does.
func (w *fixture) replaceBoth() {
	w.t.Helper()
	w.empty()
	w.change(func(c *configuration) {
		clearRules(c)
		clearCAs(c)
	})
}

// trusts returns an error if the registration does not trust the certificate that a replica serves.
func (w *fixture) trusts(u *Registrar) error {
	w.t.Helper()
	return w.verify(u.Source.Leaf(), &w.live().Webhooks[0])
}

// TestSecretAndRegistrationReplaced checks that the certificate that another replica serves stays
// trusted until that replica has seen the new one, if secret and registration are replaced
// together.
func TestSecretAndRegistrationReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.want("at first", 6, 3, 0, 3)
		second := w.replica()
		time.Sleep(time.Hour)
		second.look(t.Context())
		former := second.Source.Leaf()
		w.replaceBoth()
		w.want("replaced", 6, 3, 0, 3)
		if w.Source.Leaf().Leaf.Equal(former.Leaf) {
			t.Fatal("the first replica still serves the former certificate")
		}
		for range 12 {
			if err := w.trusts(second); err != nil {
				t.Fatalf("the certificate of the second replica is not trusted: %v", err)
			}
			time.Sleep(second.look(t.Context()))
			w.look(t.Context())
		}
		if !second.Source.Leaf().Leaf.Equal(w.Source.Leaf().Leaf) {
			t.Error("the second replica serves another certificate than the first")
		}
	})
}

// TestReplacedAndTakenUpByANewReplica checks that a replica serves the new certificate as soon as
// it sees it, if its former one is not trusted any more. A replica that has just started doesn't
// know the former CA.
func TestReplacedAndTakenUpByANewReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.want("at first", 6, 3, 0, 3)
		time.Sleep(time.Hour)
		w.look(t.Context())
		w.replaceBoth()
		fresh := w.replica()
		for range 6 {
			fresh.look(t.Context())
		}
		w.want("new replica", 0, 3, 0, 3)
		if err := w.trusts(w.Registrar); err == nil {
			t.Fatal("the former certificate is trusted, so this test shows nothing")
		}
		w.look(t.Context())
		if err := w.trusts(w.Registrar); err != nil {
			t.Errorf("after its next look, the other replica's certificate is not trusted: %v", err)
		}
	})
}
