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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tagpin/tagpin/pkg/certificate"
	"github.com/tagpin/tagpin/pkg/registration"
)

// The registration calls for nothing before the webhook was reached through its Service, several
// times in a row.
func TestRulesWaitForTheService(t *testing.T) {
	w := newFixture(t)
	w.unreached = errors.New("connection refused")
	w.want("without an endpoint", 5, 0, 0, 0)
	if !strings.Contains(w.logged, "not reached through its Service yet: connection refused") {
		t.Errorf("it says %q, want that the Service does not answer", w.logged)
	}
	w.unreached = nil
	w.want("reached once", enoughReached-1, 0, 0, 0)
	w.unreached = errors.New("connection refused")
	w.want("with a gap", 1, 0, 0, 0)
	w.unreached = nil
	w.want("reached once more", enoughReached-1, 0, 0, 0)
	w.want("reached often enough", 2, 3, 0, 3)
	w.unreached = errors.New("connection refused")
	w.with = &registration.Registration{PodsOnly: true}
	w.want("another config, while it is called anyway", 1, 1, 0, 1)
}

// Where the server can't reach its own Service, it does not wait for ever.
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
			t.Errorf("%d times it says that it was not reached, want 1, with the reason:\n%s", got, said)
		}
		w.change(clearRules)
		w.want("emptied: another minute begins", 3, 0, 0, 0)
	})
}

func podsOnly() *registration.Registration { return &registration.Registration{PodsOnly: true} }

// During an upgrade an old server that reloads its config last does not put its old conditions
// back.
func TestOlderServerReloadsLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		old := w.replica()
		w.Version = "v1.1.0"
		w.want("written by the newer one", 6, 3, 0, 3)
		time.Sleep(time.Hour) // the CA is known by then
		agrees := func(u *Registrar) float64 { return testutil.ToFloat64(u.asConfigured.WithLabelValues()) }
		if old.look(t.Context()); agrees(old) != 1 {
			t.Error("the rules of the newer one are not those that the older one would write, though they are equal")
		}
		old.Wanted = podsOnly
		for range 3 {
			if wait := old.look(t.Context()); wait != later {
				t.Errorf("the older one looks again after %v, want %v: nothing hurries", wait, later)
			}
		}
		w.want("looked at by the older one", 0, 3, 0, 3)
		if w.look(t.Context()); agrees(old) != 0 || agrees(w.Registrar) != 1 {
			t.Errorf("as configured for the older one: %v, for the newer one: %v; want 0 and 1", agrees(old), agrees(w.Registrar))
		}
		if got := w.live().Annotations[writtenBy]; old.logged != waitsForOtherVersion || got != "v1.1.0" {
			t.Errorf("the older one says %q; written by %q, want v1.1.0", old.logged, got)
		}
		w.change(func(c *configuration) {
			delete(c.Annotations, writtenBy)
		})
		old.look(t.Context())
		w.want("by the older one, once the annotation is gone", 0, 1, 0, 1)
		w.look(t.Context())
		w.with = &registration.Registration{IgnoreRestart: true}
		w.want("by the newer one, with another config", 2, 3, 0, 3)
		w.change(clearRules)
		for range 6 {
			old.look(t.Context())
		}
		w.want("by the older one, which is better than no rules", 0, 1, 0, 1)
	})
}

// A roll-back changes the image that the manifests want: then the older server writes.
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
		time.Sleep(time.Hour) // the CA is known by then
		old.Wanted = podsOnly
		old.look(t.Context())
		w.want("before the roll-back", 0, 3, 0, 3)
		w.change(func(c *configuration) {
			c.Annotations[wantedImage] = "r/tagpin:1"
		})
		old.look(t.Context())
		w.want("after it", 0, 1, 0, 1)
		w.with = &registration.Registration{IgnoreRestart: true}
		w.look(t.Context())
		w.want("when the newer one reloads", 0, 1, 0, 1)
		if got := w.live().Annotations; got[writtenBy] != "v1.0.0 r/tagpin:1" || got["a"] != "b" {
			t.Errorf("annotations %v, want the older one's name, and all others left", got)
		}
	})
}

// The registration goes with the namespace, but not where Argo CD would keep it for that.
func TestOwnedByItsNamespace(t *testing.T) {
	w := newFixture(t)
	foreign := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "c", UID: "c"}
	gone := metav1.OwnerReference{APIVersion: "v1", Kind: "Namespace", Name: ownSpace, UID: "gone"}
	own := metav1.OwnerReference{APIVersion: "v1", Kind: "Namespace", Name: ownSpace, UID: "space"}
	owners := func(when string, want ...metav1.OwnerReference) {
		t.Helper()
		w.look(t.Context())
		if got := w.live().OwnerReferences; !slices.Equal(got, want) {
			t.Errorf("%s: owners %v, want %v", when, got, want)
		}
	}
	w.change(func(c *configuration) {
		c.OwnerReferences = []metav1.OwnerReference{foreign, gone}
	})
	owners("before it has rules", foreign, gone)
	w.want("at first", 6, 3, 0, 3)
	owners("with rules", foreign, own)
	w.change(func(c *configuration) { c.OwnerReferences = nil })
	owners("replaced", own)
	w.change(func(c *configuration) {
		c.Annotations["argocd.argoproj.io/tracking-id"] = "tagpin:…/MutatingWebhookConfiguration:/zz-tagpin"
	})
	owners("tracked by Argo CD")
}

// A namespace that may not be read keeps no rules from being written, and is asked for once. One
// that can't be read for now is asked for again.
func TestNamespaceCannotBeRead(t *testing.T) {
	namespaces := schema.GroupResource{Resource: "namespaces"}
	for name, tt := range map[string]struct {
		err   error
		reads int
	}{
		"forbidden": {apierrors.NewForbidden(namespaces, ownSpace, errors.New("no role")), 1},
		"for now":   {apierrors.NewServiceUnavailable("later"), 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			reads, err := 0, tt.err
			w.client.PrependReactor("get", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
				reads++
				return err != nil, nil, err
			})
			w.want("at first", 6, 3, 0, 3)
			w.look(t.Context())
			w.look(t.Context())
			if reads < tt.reads || tt.reads == 1 && reads > 1 || len(w.live().OwnerReferences) > 0 {
				t.Errorf("%d reads, want %d; owners %v", reads, tt.reads, w.live().OwnerReferences)
			}
			if failures := testutil.ToFloat64(w.updates.WithLabelValues("failed")); (failures > 0) != (tt.reads > 1) {
				t.Errorf("%v failures are counted; it says %q", failures, w.logged)
			}
			err = nil
			w.look(t.Context())
			if owned := len(w.live().OwnerReferences) == 1; owned != (tt.reads > 1) {
				t.Errorf("when it may be read again, owners %v", w.live().OwnerReferences)
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
		for i := range c.Webhooks {
			c.Webhooks[i].ClientConfig.CABundle = nil
		}
	})
}

// trusts returns why the registration does not trust what a replica serves.
func (w *fixture) trusts(u *Registrar) error {
	w.t.Helper()
	bundle := w.live().Webhooks[0].ClientConfig.CABundle
	return certificate.Verify(u.Source.Leaf(), bundle, ownDNS, time.Now())
}

// Secret and registration are replaced together: what another replica serves by stays trusted until
// it has seen the new certificate.
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
			t.Fatal("the first replica serves the former certificate still")
		}
		for range 12 {
			if err := w.trusts(second); err != nil {
				t.Fatalf("what the second replica serves is not trusted: %v", err)
			}
			time.Sleep(second.look(t.Context()))
			w.look(t.Context())
		}
		if !second.Source.Leaf().Leaf.Equal(w.Source.Leaf().Leaf) {
			t.Error("the second replica serves another certificate than the first")
		}
	})
}

// A replica that has just started knows nothing of the former CA: the others, whose certificate
// nobody trusts any more, serve the new one as soon as they see it.
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
		w.want("by the new replica", 0, 3, 0, 3)
		if err := w.trusts(w.Registrar); err == nil {
			t.Fatal("the former certificate is trusted, so that this shows nothing")
		}
		w.look(t.Context())
		if err := w.trusts(w.Registrar); err != nil {
			t.Errorf("after its next look, what the other replica serves is not trusted: %v", err)
		}
	})
}
