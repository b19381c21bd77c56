// SPDX-License-Identifier: Apache-2.0

package main

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
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
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
	hookName  = "zz-tagpin"
	ownDNS    = "tagpin-webhook.tagpin-system.svc"
	ownSpace  = "tagpin-system"
	ownSecret = "tagpin-webhook-tls"
)

// tended is one upkeep, and what it keeps. The API server is client-go's fake, which counts no versions; the real one is in
// e2e.
type tended struct {
	*upkeep
	t      *testing.T
	client *fake.Clientset
	with   *registration.Registration
	down   error // why the webhook does not answer
	// unreached is why it is not reached through its Service.
	unreached error
}

// tend makes an upkeep, with an empty secret and an inert registration.
func tend(t *testing.T) *tended {
	t.Helper()
	hook1 := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: hookName, UID: "1", ResourceVersion: "1"},
		Webhooks:   []admissionregistrationv1.MutatingWebhook{{Name: "enforce.tagpin.dev"}, {Name: "other.example.com"}, {Name: "keep.tagpin.dev"}},
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ownSpace, Name: ownSecret, ResourceVersion: "1"}}
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ownSpace, UID: "space"}}
	w := &tended{t: t, client: fake.NewClientset(hook1, secret, space), with: &registration.Registration{}}
	w.upkeep = w.replica()
	return w
}

// replica is another upkeep of the same.
func (w *tended) replica() *upkeep {
	own := &certificates{dnsName: ownDNS, secret: &certificate.Secret{
		Client: w.client.CoreV1().Secrets(ownSpace), Name: ownSecret, DNSName: ownDNS,
	}}
	u := newUpkeep(logr.Discard(), hook{client: w.client, name: hookName}, own, prometheus.NewRegistry())
	u.wanted = func() *registration.Registration { return w.with }
	u.answers = func() error { return w.down }
	u.reach = func(context.Context, *admissionregistrationv1.MutatingWebhook) error { return w.unreached }
	u.namespace, u.self = ownSpace, writer{version: "v1.0.0"}
	return u
}

func (w *tended) live() *admissionregistrationv1.MutatingWebhookConfiguration {
	w.t.Helper()
	live, err := w.hook.read(w.t.Context())
	if err != nil || live == nil {
		w.t.Fatalf("registration: %v, %v", live, err)
	}
	return live
}

// change changes the registration as an operator does.
func (w *tended) change(f func(*admissionregistrationv1.MutatingWebhookConfiguration)) {
	w.t.Helper()
	live := w.live()
	f(live)
	if _, err := w.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Update(w.t.Context(), live, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func clearRules(c *admissionregistrationv1.MutatingWebhookConfiguration) {
	for i := range c.Webhooks {
		c.Webhooks[i].Rules, c.Webhooks[i].MatchConditions = nil, nil
	}
}

// want looks until nothing is to come, at most n times, and compares the number of rules of each webhook.
func (w *tended) want(when string, n int, rules ...int) {
	w.t.Helper()
	for range n {
		if w.look(w.t.Context()) == lookLater && w.said == "" {
			break
		}
	}
	live := w.live()
	for i, want := range rules {
		if got := len(live.Webhooks[i].Rules); got != want {
			w.t.Errorf("%s: %s has %d rules, want %d (said last: %q)", when, live.Webhooks[i].Name, got, want, w.said)
		}
	}
}

func TestRegistrationBecomesActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tend(t)
		w.down = errors.New("down")
		w.want("while it does not serve", 3, 0, 0, 0)
		if err := certificate.Verify(w.certificates.leaf.Load(), w.live().Webhooks[0].ClientConfig.CABundle, ownDNS, time.Now()); err != nil {
			t.Errorf("the certificate that is served: %v", err)
		}
		w.down = nil
		w.want("when it serves", 6, 3, 0, 3)
		if live := w.live(); len(live.Webhooks[1].ClientConfig.CABundle) > 0 || len(live.Webhooks[0].MatchConditions) != 4 {
			t.Errorf("%+v, want four conditions, and another's webhook left", live.Webhooks)
		}
		w.change(clearRules)
		w.want("replaced by one without rules", 6, 3, 0, 3)
		w.change(func(c *admissionregistrationv1.MutatingWebhookConfiguration) { c.Webhooks[2].Rules = nil })
		w.want("with one webhook emptied", 6, 3, 0, 3)
		w.with = &registration.Registration{PodsOnly: true}
		w.want("with another config", 6, 1, 0, 1)
		w.change(func(c *admissionregistrationv1.MutatingWebhookConfiguration) {
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
		if got := testutil.ToFloat64(second.updates.WithLabelValues("unchanged")); got != 1 || !second.certificates.leaf.Load().Leaf.Equal(w.certificates.leaf.Load().Leaf) {
			t.Errorf("a second replica found it unchanged %v times, want once, with the same certificate", got)
		}
	})
}

// Whose CA is not there, is not called.
func TestRegistrationOfOthers(t *testing.T) {
	w, other := tend(t), tend(t)
	other.look(t.Context())
	w.certificates.leaf.Store(other.certificates.leaf.Load())
	w.certificates.secret = nil // as if it were mounted
	w.want("without a CA", 6, 0, 0, 0)
	w.change(func(c *admissionregistrationv1.MutatingWebhookConfiguration) {
		c.Webhooks[0].ClientConfig.CABundle = other.live().Webhooks[0].ClientConfig.CABundle
	})
	w.want("with the CA in one webhook", 6, 0, 0, 0)
	if !strings.Contains(w.said, "keep.tagpin.dev does not trust") {
		t.Errorf("it says %q, want it to name the other one", w.said)
	}
	w.change(func(c *admissionregistrationv1.MutatingWebhookConfiguration) {
		c.Webhooks[2].ClientConfig.CABundle = other.live().Webhooks[0].ClientConfig.CABundle
	})
	w.want("with the CA in both", 6, 3, 0, 3)
}

// Without a registration it serves, at a slow pace, until there is one.
func TestNoRegistration(t *testing.T) {
	w := tend(t)
	api := w.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	before := w.live()
	if err := api.Delete(t.Context(), hookName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if wait := w.look(t.Context()); wait != lookLater || w.certificates.ready(nil) != nil || w.said != notThere {
		t.Errorf("without a registration: wait %v, certificate %v, said %q", wait, w.certificates.ready(nil), w.said)
	}
	if _, err := api.Create(t.Context(), before, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.want("when it is there", 6, 3, 0, 3)
	w.change(func(c *admissionregistrationv1.MutatingWebhookConfiguration) { c.Webhooks = c.Webhooks[1:2] })
	if w.look(t.Context()); !strings.Contains(w.said, "no webhook of tagpin's") {
		t.Errorf("with others' webhooks alone it says %q", w.said)
	}
}

// While requests come, another certificate waits until its CA has settled; the former one is served.
func TestNewCertificateWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tend(t)
		w.want("at first", 6, 3, 0, 3)
		former := w.certificates.leaf.Load()
		w.empty()
		w.look(t.Context())
		if got := w.certificates.leaf.Load(); got != former {
			t.Errorf("it serves %v at once", got.Leaf.SerialNumber)
		}
		fresh := w.replica()
		fresh.look(t.Context())
		if err := fresh.certificates.ready(nil); !errors.Is(err, errNone) {
			t.Errorf("one that has just started: ready %v, want %v", err, errNone)
		}
		time.Sleep(10 * time.Second)
		w.look(t.Context())
		fresh.look(t.Context())
		if got := w.certificates.leaf.Load(); got == former || !got.Leaf.Equal(fresh.certificates.leaf.Load().Leaf) {
			t.Errorf("after ten seconds it serves %v, want the new one, as the other does", got.Leaf.SerialNumber)
		}
		for _, hook := range ours(w.live()) {
			if err := certificate.Verify(former, hook.ClientConfig.CABundle, ownDNS, time.Now()); err != nil {
				t.Errorf("%s: the former certificate: %v", hook.Name, err)
			}
		}
	})
}

// empty takes some out of the secret, or everything.
func (w *tended) empty(keys ...string) {
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
	w := tend(t)
	w.want("at first", 6, 3, 0, 3)
	if err := w.client.CoreV1().Secrets(ownSpace).Delete(t.Context(), ownSecret, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.with = &registration.Registration{PodsOnly: true}
	w.want("with another config", 1, 1, 0, 1)
	if !strings.Contains(w.said, "does not exist: apply the manifests") || w.certificates.ready(nil) != nil {
		t.Errorf("it says %q, certificate %v", w.said, w.certificates.ready(nil))
	}
	if got := testutil.ToFloat64(w.renewals.WithLabelValues("failed")); got != 1 {
		t.Errorf("%v failures, want 1", got)
	}
}

// A secret that can't be written keeps nobody from serving what is in it, nor from trusting its CA.
func TestSecretCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tend(t)
		w.want("at first", 6, 3, 0, 3)
		time.Sleep(70 * 24 * time.Hour) // it is to be renewed
		w.client.PrependReactor("update", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("field is immutable")
		})
		w.change(func(c *admissionregistrationv1.MutatingWebhookConfiguration) {
			clearRules(c)
			for i := range c.Webhooks {
				c.Webhooks[i].ClientConfig.CABundle = nil
			}
		})
		second := w.replica()
		const looks = 1 + enoughReaches
		for range looks {
			if second.look(t.Context()); !strings.Contains(second.said, "field is immutable") {
				t.Errorf("it says %q, want that the secret can't be written", second.said)
			}
		}
		if err := second.certificates.ready(nil); err != nil {
			t.Errorf("a new replica is not ready: %v", err)
		}
		if err := certificate.Verify(w.certificates.leaf.Load(), w.live().Webhooks[0].ClientConfig.CABundle, ownDNS, time.Now()); err != nil || rules(w.live()) != 3 {
			t.Errorf("the certificate in the registration: %v; %d rules, want 3", err, rules(w.live()))
		}
		if got := testutil.ToFloat64(second.renewals.WithLabelValues("failed")); got != looks {
			t.Errorf("%v failures, want %d", got, looks)
		}
	})
}

// noRead lets nobody read the registration.
func (w *tended) noRead() {
	w.client.PrependReactor("get", "mutatingwebhookconfigurations", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("no role")
	})
}

// A registration that can't be read keeps no leaf from being renewed, as long as the CA is the same.
func TestRegistrationCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tend(t)
		w.want("at first", 6, 3, 0, 3)
		former := w.certificates.leaf.Load()
		w.noRead()
		w.empty("tls.crt")
		if w.look(t.Context()); !strings.Contains(w.said, "no role") || w.certificates.leaf.Load() == former {
			t.Errorf("it says %q, and serves the former leaf: %t", w.said, w.certificates.leaf.Load() == former)
		}
		renewed := w.certificates.leaf.Load()
		w.empty()
		w.look(t.Context())
		time.Sleep(time.Hour)
		if w.look(t.Context()); w.certificates.leaf.Load() != renewed {
			t.Error("it serves a leaf of a CA that nobody may trust")
		}
		if got := testutil.ToFloat64(w.updates.WithLabelValues("failed")); got != 3 {
			t.Errorf("%v failures, want 3", got)
		}
	})
}

// Who starts while it can't be read serves by a CA that is no longer new, and tells of no rules: it knows of none.
func TestStartsWithoutTheRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tend(t)
		w.want("at first", 6, 3, 0, 3)
		w.noRead()
		fresh := w.replica()
		fresh.look(t.Context())
		if err := fresh.certificates.ready(nil); !errors.Is(err, errNone) {
			t.Errorf("with a new CA: ready %v, want %v", err, errNone)
		}
		time.Sleep(time.Minute)
		fresh.look(t.Context())
		if err := fresh.certificates.ready(nil); err != nil || !strings.Contains(fresh.said, "no role") {
			t.Errorf("with an older CA: ready %v, said %q", err, fresh.said)
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

// A secret that was restored from a backup has an old CA, which the API servers hear of no sooner for that.
func TestRestoredSecretWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, backup := tend(t), tend(t)
		backup.look(t.Context())
		time.Sleep(time.Hour)
		w.want("at first", 6, 3, 0, 3)
		former := w.certificates.leaf.Load()
		old, err := backup.client.CoreV1().Secrets(ownSpace).Get(t.Context(), ownSecret, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.client.CoreV1().Secrets(ownSpace).Update(t.Context(), old, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if w.look(t.Context()); w.certificates.leaf.Load() != former {
			t.Error("it serves the restored leaf at once")
		}
		time.Sleep(10 * time.Second)
		if w.look(t.Context()); !w.certificates.leaf.Load().Leaf.Equal(backup.certificates.leaf.Load().Leaf) {
			t.Errorf("it does not serve the restored leaf ten seconds later (said last: %q)", w.said)
		}
	})
}

// It ends when it is told to, and looks at once when the config changes.
func TestUpkeepRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tend(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.run(ctx) }()
		time.Sleep(enoughReaches*lookSoon + lookSoon/2)
		synctest.Wait()
		w.with = &registration.Registration{PodsOnly: true}
		w.wake()
		w.wake()
		synctest.Wait()
		w.want("at once with another config", 0, 1, 0, 1)
		stop()
		if err := <-done; err != nil {
			t.Errorf("run = %v", err)
		}
	})
}

// While an error stays it looks ever less often, but not less than when all is well.
func TestUpkeepBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tend(t)
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
	w := tend(t)
	if got := testutil.CollectAndCount(w.certificates); got != 0 {
		t.Errorf("%d ends of certificates, before there is one", got)
	}
	w.look(t.Context())
	for _, name := range []string{"tagpin_certificate_expiry_timestamp_seconds", "tagpin_certificate_lifetime_seconds"} {
		if got := testutil.CollectAndCount(w.certificates, name); got != 2 {
			t.Errorf("%d of %s, want those of the leaf and the CA", got, name)
		}
	}
}

// Where the API server refuses to write the registration, a replica that starts serves all the same by the CA that is there.
func TestRegistrationIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tend(t)
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
		if err := second.certificates.ready(nil); err != nil {
			t.Errorf("a new replica is not ready: %v (said last: %q)", err, second.said)
		}
		if got := testutil.ToFloat64(second.updates.WithLabelValues("failed")); got == 0 {
			t.Error("no failure is counted")
		}
		if got := testutil.ToFloat64(second.rules); got != 3 {
			t.Errorf("%v rules are told of, want those that are there, 3", got)
		}
	})
}
