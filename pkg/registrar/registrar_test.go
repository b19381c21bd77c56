// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tagpin/tagpin/pkg/certificate"
	"github.com/tagpin/tagpin/pkg/registration"
)

const (
	registrationName = "zz-tagpin"
	ownDNS           = "tagpin-webhook.tagpin-system.svc"
	ownSpace         = "tagpin-system"
	ownSecret        = "tagpin-webhook-tls"
)

// fixture is a Registrar with the objects that it keeps. The API server is client-go's fake, which
// does not check versions; the tests in e2e use a real one.
type fixture struct {
	*Registrar
	t      *testing.T
	client *fake.Clientset
	with   *registration.Registration // what the config wants
	down   error                      // the result of Serving
	// unreached is the error of a connection through the Service.
	unreached error
}

// newFixture returns a Registrar, an empty secret, and a registration without rules.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	live := &configuration{
		ObjectMeta: metav1.ObjectMeta{Name: registrationName, UID: "1", ResourceVersion: "1"},
		Webhooks: []webhook{
			{Name: "enforce.tagpin.dev"}, {Name: "other.example.com"}, {Name: "keep.tagpin.dev"},
		},
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: ownSpace, Name: ownSecret, ResourceVersion: "1",
	}}
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ownSpace, UID: "space"}}
	w := &fixture{
		t: t, client: fake.NewClientset(live, secret, space), with: &registration.Registration{},
	}
	w.Registrar = w.replica()
	return w
}

// replica returns another Registrar for the same objects.
func (w *fixture) replica() *Registrar {
	r := New(Config{
		Client: w.client, Name: registrationName, Namespace: ownSpace, DNSName: ownDNS,
		Version: "v1.0.0",
		Wanted:  func() *registration.Registration { return w.with },
		Serving: func() error { return w.down },
		Source:  &certificate.Source{Now: time.Now, Log: logr.Discard()},
		Secret: &certificate.Secret{
			Client: w.client.CoreV1().Secrets(ownSpace), Name: ownSecret, DNSName: ownDNS, Now: time.Now,
		},
		Log: logr.Discard(),
	}, prometheus.NewRegistry())
	r.reach = func(context.Context, *webhook) error { return w.unreached }
	return r
}

func (w *fixture) live() *configuration {
	w.t.Helper()
	live, err := w.read(w.t.Context())
	if err != nil || live == nil {
		w.t.Fatalf("registration: %v, %v", live, err)
	}
	return live
}

// change changes the registration as an operator does.
func (w *fixture) change(f func(*configuration)) {
	w.t.Helper()
	live := w.live()
	f(live)
	if _, err := w.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Update(w.t.Context(), live, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func fewestRules(c *configuration) int {
	n, _ := countRules(c)
	return n
}

func clearRules(c *configuration) {
	for i := range c.Webhooks {
		c.Webhooks[i].Rules, c.Webhooks[i].MatchConditions = nil, nil
	}
}

// want looks until nothing is to come, at most n times, and compares the number of rules of each
// webhook.
func (w *fixture) want(when string, n int, rules ...int) {
	w.t.Helper()
	for range n {
		if w.look(w.t.Context()) == later && w.logged == "" {
			break
		}
	}
	live := w.live()
	for i, want := range rules {
		if got := len(live.Webhooks[i].Rules); got != want {
			w.t.Errorf("%s: %s has %d rules, want %d (said last: %q)", when, live.Webhooks[i].Name, got, want, w.logged)
		}
	}
}

func TestRegistrationBecomesActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.down = errors.New("down")
		w.want("while it does not serve", 3, 0, 0, 0)
		if err := certificate.Verify(w.Source.Leaf(), w.live().Webhooks[0].ClientConfig.CABundle, ownDNS, time.Now()); err != nil {
			t.Errorf("the certificate that is served: %v", err)
		}
		w.down = nil
		w.want("when it serves", 6, 3, 0, 3)
		if live := w.live(); len(live.Webhooks[1].ClientConfig.CABundle) > 0 || len(live.Webhooks[0].MatchConditions) != 4 {
			t.Errorf("%+v, want four conditions, and another's webhook left", live.Webhooks)
		}
		w.change(clearRules)
		w.want("replaced by one without rules", 6, 3, 0, 3)
		w.change(func(c *configuration) { c.Webhooks[2].Rules = nil })
		w.want("with one webhook emptied", 6, 3, 0, 3)
		w.with = &registration.Registration{PodsOnly: true}
		w.want("with another config", 6, 1, 0, 1)
		w.change(func(c *configuration) {
			clearRules(c)
			c.UID = types.UID("2")
		})
		w.want("made anew", 6, 1, 0, 1)
		if got := testutil.ToFloat64(w.updates.WithLabelValues("updated")); got != 7 {
			t.Errorf("%v updates, want 7: the CA, the owner, and the rules five times", got)
		}
		time.Sleep(time.Minute)
		second := w.replica()
		second.look(t.Context())
		second.look(t.Context())
		if got := testutil.ToFloat64(second.updates.WithLabelValues("unchanged")); got != 1 || !second.Source.Leaf().Leaf.Equal(w.Source.Leaf().Leaf) {
			t.Errorf("a second replica found it unchanged %v times, want once, with the same certificate", got)
		}
	})
}

// Whose CA is not there, is not called.
func TestRegistrationOfOthers(t *testing.T) {
	w, other := newFixture(t), newFixture(t)
	other.look(t.Context())
	w.Source.Serve(other.Source.Leaf())
	w.Secret = nil // as if it were mounted
	w.want("without a CA", 6, 0, 0, 0)
	w.change(func(c *configuration) {
		c.Webhooks[0].ClientConfig.CABundle = other.live().Webhooks[0].ClientConfig.CABundle
	})
	w.want("with the CA in one webhook", 6, 0, 0, 0)
	if !strings.Contains(w.logged, "keep.tagpin.dev does not trust") {
		t.Errorf("it says %q, want it to name the other one", w.logged)
	}
	w.change(func(c *configuration) {
		c.Webhooks[2].ClientConfig.CABundle = other.live().Webhooks[0].ClientConfig.CABundle
	})
	w.want("with the CA in both", 6, 3, 0, 3)
}

// Without a registration it serves, at a slow pace, until there is one.
func TestNoRegistration(t *testing.T) {
	w := newFixture(t)
	api := w.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	before := w.live()
	if err := api.Delete(t.Context(), registrationName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if wait := w.look(t.Context()); wait != later || w.Source.Ready(nil) != nil || w.logged != waitsForRegistration {
		t.Errorf("without a registration: wait %v, certificate %v, said %q", wait, w.Source.Ready(nil), w.logged)
	}
	if _, err := api.Create(t.Context(), before, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.want("when it is there", 6, 3, 0, 3)
	w.change(func(c *configuration) { c.Webhooks = c.Webhooks[1:2] })
	if w.look(t.Context()); !strings.Contains(w.logged, "no webhook of tagpin's") {
		t.Errorf("with others' webhooks alone it says %q", w.logged)
	}
}

// While requests come, another certificate waits until its CA has settled; the former one is
// served.
func TestNewCertificateWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.want("at first", 6, 3, 0, 3)
		former := w.Source.Leaf()
		w.empty()
		w.look(t.Context())
		if got := w.Source.Leaf(); got != former {
			t.Errorf("it serves %v at once", got.Leaf.SerialNumber)
		}
		fresh := w.replica()
		fresh.look(t.Context())
		if err := fresh.Source.Ready(nil); !errors.Is(err, certificate.ErrNone) {
			t.Errorf("one that has just started: ready %v, want %v", err, certificate.ErrNone)
		}
		time.Sleep(10 * time.Second)
		w.look(t.Context())
		fresh.look(t.Context())
		if got := w.Source.Leaf(); got == former || !got.Leaf.Equal(fresh.Source.Leaf().Leaf) {
			t.Errorf("after ten seconds it serves %v, want the new one, as the other does", got.Leaf.SerialNumber)
		}
		for _, hook := range webhooks(w.live()) {
			if err := certificate.Verify(former, hook.ClientConfig.CABundle, ownDNS, time.Now()); err != nil {
				t.Errorf("%s: the former certificate: %v", hook.Name, err)
			}
		}
	})
}

// empty takes some out of the secret, or everything.
func (w *fixture) empty(keys ...string) {
	w.t.Helper()
	secrets := w.client.CoreV1().Secrets(ownSpace)
	secret, err := secrets.Get(w.t.Context(), ownSecret, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, key := range keys {
		delete(secret.Data, key)
	}
	if len(keys) == 0 {
		secret.Data = nil
	}
	if _, err := secrets.Update(w.t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// A secret that can't be read keeps nobody from what does not need it.
func TestSecretIsGone(t *testing.T) {
	w := newFixture(t)
	w.want("at first", 6, 3, 0, 3)
	if err := w.client.CoreV1().Secrets(ownSpace).Delete(t.Context(), ownSecret, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.with = &registration.Registration{PodsOnly: true}
	w.want("with another config", 1, 1, 0, 1)
	if !strings.Contains(w.logged, "does not exist: apply the manifests") || w.Source.Ready(nil) != nil {
		t.Errorf("it says %q, certificate %v", w.logged, w.Source.Ready(nil))
	}
	if got := testutil.ToFloat64(w.renewals.WithLabelValues("failed")); got != 1 {
		t.Errorf("%v failures, want 1", got)
	}
}

// A secret that can't be written keeps nobody from serving what is in it, nor from trusting its CA.
func TestSecretCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.want("at first", 6, 3, 0, 3)
		time.Sleep(70 * 24 * time.Hour) // it is to be renewed
		w.client.PrependReactor("update", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("field is immutable")
		})
		w.change(func(c *configuration) {
			clearRules(c)
			for i := range c.Webhooks {
				c.Webhooks[i].ClientConfig.CABundle = nil
			}
		})
		second := w.replica()
		const looks = 1 + enoughReached
		for range looks {
			if second.look(t.Context()); !strings.Contains(second.logged, "field is immutable") {
				t.Errorf("it says %q, want that the secret can't be written", second.logged)
			}
		}
		if err := second.Source.Ready(nil); err != nil {
			t.Errorf("a new replica is not ready: %v", err)
		}
		if err := certificate.Verify(w.Source.Leaf(), w.live().Webhooks[0].ClientConfig.CABundle, ownDNS, time.Now()); err != nil || fewestRules(w.live()) != 3 {
			t.Errorf("the certificate in the registration: %v; %d rules, want 3", err, fewestRules(w.live()))
		}
		if got := testutil.ToFloat64(second.renewals.WithLabelValues("failed")); got != looks {
			t.Errorf("%v failures, want %d", got, looks)
		}
	})
}

// noRead lets nobody read the registration.
func (w *fixture) noRead() {
	w.client.PrependReactor("get", "mutatingwebhookconfigurations", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("no role")
	})
}

// A registration that can't be read keeps no leaf from being renewed, as long as the CA is the
// same.
func TestRegistrationCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.want("at first", 6, 3, 0, 3)
		former := w.Source.Leaf()
		w.noRead()
		w.empty("tls.crt")
		if w.look(t.Context()); !strings.Contains(w.logged, "no role") || w.Source.Leaf() == former {
			t.Errorf("it says %q, and serves the former leaf: %t", w.logged, w.Source.Leaf() == former)
		}
		renewed := w.Source.Leaf()
		w.empty()
		w.look(t.Context())
		time.Sleep(time.Hour)
		if w.look(t.Context()); w.Source.Leaf() != renewed {
			t.Error("it serves a leaf of a CA that nobody may trust")
		}
		if got := testutil.ToFloat64(w.updates.WithLabelValues("failed")); got != 3 {
			t.Errorf("%v failures, want 3", got)
		}
	})
}

// Who starts while it can't be read serves by a CA that is no longer new, and tells of no rules: it
// knows of none.
func TestStartsWithoutTheRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.want("at first", 6, 3, 0, 3)
		w.noRead()
		fresh := w.replica()
		fresh.look(t.Context())
		if err := fresh.Source.Ready(nil); !errors.Is(err, certificate.ErrNone) {
			t.Errorf("with a new CA: ready %v, want %v", err, certificate.ErrNone)
		}
		time.Sleep(time.Minute)
		fresh.look(t.Context())
		if err := fresh.Source.Ready(nil); err != nil || !strings.Contains(fresh.logged, "no role") {
			t.Errorf("with an older CA: ready %v, said %q", err, fresh.logged)
		}
		if got := testutil.CollectAndCount(fresh.rules); got != 0 {
			t.Errorf("rules are told of %d times, want none: that would be an alert", got)
		}
		w.client.ReactionChain = w.client.ReactionChain[1:]
		if fresh.look(t.Context()); testutil.ToFloat64(fresh.rules) != 3 {
			t.Errorf("%v rules are told of once it can be read, want 3", testutil.ToFloat64(fresh.rules))
		}
	})
}

// A secret that was restored from a backup has an old CA, which the API servers hear of no sooner
// for that.
func TestRestoredSecretWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, backup := newFixture(t), newFixture(t)
		backup.look(t.Context())
		time.Sleep(time.Hour)
		w.want("at first", 6, 3, 0, 3)
		former := w.Source.Leaf()
		old, err := backup.client.CoreV1().Secrets(ownSpace).Get(t.Context(), ownSecret, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.client.CoreV1().Secrets(ownSpace).Update(t.Context(), old, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if w.look(t.Context()); w.Source.Leaf() != former {
			t.Error("it serves the restored leaf at once")
		}
		time.Sleep(10 * time.Second)
		if w.look(t.Context()); !w.Source.Leaf().Leaf.Equal(backup.Source.Leaf().Leaf) {
			t.Errorf("it does not serve the restored leaf ten seconds later (said last: %q)", w.logged)
		}
	})
}

// It ends when it is told to, and looks at once when the config changes.
func TestRegistrarRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(enoughReached*soon + soon/2)
		synctest.Wait()
		w.with = &registration.Registration{PodsOnly: true}
		w.Changed()
		w.Changed()
		synctest.Wait()
		w.want("at once with another config", 0, 1, 0, 1)
		stop()
		if err := <-done; err != nil {
			t.Errorf("run = %v", err)
		}
	})
}

// While an error stays it looks ever less often, but not less than when all is well.
func TestRegistrarBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.noRead()
		var waits []time.Duration
		for range 6 {
			waits = append(waits, w.look(t.Context()))
		}
		w.client.ReactionChain = w.client.ReactionChain[1:]
		w.down = errors.New("down")
		waits = append(waits, w.look(t.Context()))
		w.noRead()
		waits = append(waits, w.look(t.Context()))
		const s = time.Second
		if want := []time.Duration{s, 2 * s, 4 * s, 8 * s, 10 * s, 10 * s, s, s}; !slices.Equal(waits, want) {
			t.Errorf("it waits for %v, want %v", waits, want)
		}
	})
}

// Both ends are told, and both lifetimes.
func TestExpiry(t *testing.T) {
	w := newFixture(t)
	if got := testutil.CollectAndCount(w.Source); got != 0 {
		t.Errorf("%d ends of certificates, before there is one", got)
	}
	w.look(t.Context())
	for _, name := range []string{"tagpin_certificate_expiry_timestamp_seconds", "tagpin_certificate_lifetime_seconds"} {
		if got := testutil.CollectAndCount(w.Source, name); got != 2 {
			t.Errorf("%d of %s, want those of the leaf and the CA", got, name)
		}
	}
}

// Where the API server refuses to write the registration, a replica that starts serves all the same
// by the CA that is there.
func TestRegistrationIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.want("at first", 6, 3, 0, 3)
		time.Sleep(time.Hour)
		w.client.PrependReactor("patch", "mutatingwebhookconfigurations", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("refused")
		})
		w.with = &registration.Registration{PodsOnly: true}
		second := w.replica()
		for range 3 {
			second.look(t.Context())
		}
		if err := second.Source.Ready(nil); err != nil {
			t.Errorf("a new replica is not ready: %v (said last: %q)", err, second.logged)
		}
		if got := testutil.ToFloat64(second.updates.WithLabelValues("failed")); got == 0 {
			t.Error("no failure is counted")
		}
		if got := testutil.ToFloat64(second.rules); got != 3 {
			t.Errorf("%v rules are told of, want those that are there, 3", got)
		}
	})
}
