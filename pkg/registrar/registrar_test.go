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
	"github.com/go-logr/logr/funcr"
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
	"github.com/tagpin/tagpin/pkg/reminder"
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
		Webhooks:   installed(t, &registration.Registration{}),
	}
	live.Webhooks[1] = webhook{Name: "other.example.com"} // instead of dry-run.tagpin.dev
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

// installed returns the webhooks of a registration as the API server stores those of the manifests:
// with its defaults, and without what a server writes.
func installed(t *testing.T, r *registration.Registration) []webhook {
	t.Helper()
	list, err := r.Webhooks()
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		port := int32(443)
		list[i].Rules, list[i].MatchConditions = nil, nil
		list[i].ClientConfig.Service.Port = &port
		list[i].ObjectSelector = &metav1.LabelSelector{}
	}
	return list
}

// replica returns another Registrar for the same objects.
func (w *fixture) replica() *Registrar {
	return New(Config{
		Client: w.client, Name: registrationName, Namespace: ownSpace, DNSName: ownDNS,
		Version: "v1.0.0",
		Wanted:  func() *registration.Registration { return w.with },
		Serving: func() error { return w.down },
		Source:  certificate.NewSource(time.Now, logr.Discard(), prometheus.NewRegistry()),
		Secret: &certificate.Secret{
			Client: w.client.CoreV1().Secrets(ownSpace), Name: ownSecret, DNSName: ownDNS, Now: time.Now,
		},
		Dial: func(context.Context, *webhook) error { return w.unreached },
		Log:  logr.Discard(),
	}, prometheus.NewRegistry())
}

func (w *fixture) live() *configuration {
	w.t.Helper()
	api := w.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	live, err := api.Get(w.t.Context(), registrationName, metav1.GetOptions{})
	if err != nil {
		w.t.Fatalf("registration: %v", err)
	}
	return live
}

// change changes the registration, as an operator would.
func (w *fixture) change(f func(*configuration)) {
	w.t.Helper()
	live := w.live()
	f(live)
	api := w.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if _, err := api.Update(w.t.Context(), live, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func fewestRules(c *configuration) int {
	n, _ := countRules(c)
	return n
}

func clearCAs(c *configuration) {
	for i := range c.Webhooks {
		c.Webhooks[i].ClientConfig.CABundle = nil
	}
}

// failing returns a reaction of the API server.
func failing(text string) clienttesting.ReactionFunc {
	return func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New(text)
	}
}

func clearRules(c *configuration) {
	for i := range c.Webhooks {
		c.Webhooks[i].Rules, c.Webhooks[i].MatchConditions = nil, nil
	}
}

// want looks at most n times, until there is nothing to do or to wait for. It compares the number
// of rules of each webhook.
func (w *fixture) want(when string, n int, rules ...int) {
	w.t.Helper()
	for range n {
		if w.look(w.t.Context()) == later && w.logged.Text == "" {
			break
		}
	}
	live := w.live()
	for i, want := range rules {
		if got := len(live.Webhooks[i].Rules); got != want {
			w.t.Errorf("%s: %s has %d rules, want %d (logged last: %q)",
				when, live.Webhooks[i].Name, got, want, w.logged.Text)
		}
	}
}

// TestRegistrationBecomesActive checks that the rules are written when the server serves, and again
// when they are removed, the config changes or the registration is replaced. A second replica then
// finds nothing to write.
func TestRegistrationBecomesActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.down = errors.New("down")
		w.want("not serving", 3, 0, 0, 0)
		if err := w.trusts(w.Registrar); err != nil {
			t.Errorf("the registration does not trust the certificate that is served: %v", err)
		}
		w.down = nil
		w.want("serving", 6, 3, 0, 3)
		if live := w.live(); len(live.Webhooks[1].ClientConfig.CABundle) > 0 ||
			len(live.Webhooks[0].MatchConditions) != 4 {
			t.Errorf("webhooks %+v, want 4 conditions, and the foreign one unchanged", live.Webhooks)
		}
		w.change(clearRules)
		w.want("rules removed", 6, 3, 0, 3)
		w.change(func(c *configuration) { c.Webhooks[2].Rules = nil })
		w.want("rules of one webhook removed", 6, 3, 0, 3)
		w.with = &registration.Registration{PodsOnly: true}
		w.want("with another config", 6, 1, 0, 1)
		w.change(func(c *configuration) {
			clearRules(c)
			c.UID = types.UID("2")
		})
		w.want("created again", 6, 1, 0, 1)
		if got := testutil.ToFloat64(w.updates.WithLabelValues("updated")); got != 7 {
			t.Errorf("%v updates, want 7: the CA, the owner, and the rules five times", got)
		}
		time.Sleep(time.Minute)
		second := w.replica()
		second.look(t.Context())
		second.look(t.Context())
		sameLeaf := second.Source.Leaf().Leaf.Equal(w.Source.Leaf().Leaf)
		if got := testutil.ToFloat64(second.updates.WithLabelValues("unchanged")); got != 1 || !sameLeaf {
			t.Errorf("second replica: found it unchanged %v times, same leaf %t, want 1 and true",
				got, sameLeaf)
		}
	})
}

// TestForeignCA checks that no rules are written as long as a webhook does not trust a mounted
// certificate.
func TestForeignCA(t *testing.T) {
	w, other := newFixture(t), newFixture(t)
	other.look(t.Context())
	w.Source.Serve(other.Source.Leaf())
	w.Secret = nil // the certificate is mounted
	w.want("no CA", 6, 0, 0, 0)
	w.change(func(c *configuration) {
		c.Webhooks[0].ClientConfig.CABundle = other.live().Webhooks[0].ClientConfig.CABundle
	})
	w.want("CA in one webhook", 6, 0, 0, 0)
	if !strings.Contains(w.logged.Text, "keep.tagpin.dev does not trust") {
		t.Errorf("logged %q, want the name of the other webhook", w.logged.Text)
	}
	w.change(func(c *configuration) {
		c.Webhooks[2].ClientConfig.CABundle = other.live().Webhooks[0].ClientConfig.CABundle
	})
	w.want("CA in both webhooks", 6, 3, 0, 3)
}

// TestNoRegistration checks that the certificate is served if there is no registration, which is
// looked for every ten seconds.
func TestNoRegistration(t *testing.T) {
	w := newFixture(t)
	var text strings.Builder
	w.Log = funcr.New(func(_, line string) { text.WriteString(line) }, funcr.Options{Verbosity: -1})
	api := w.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	before := w.live()
	if err := api.Delete(t.Context(), registrationName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if wait := w.look(t.Context()); wait != later || w.Source.Ready(nil) != nil ||
		w.logged.Text != waitsForRegistration {
		t.Errorf("look = %v, Ready = %v, logged %q, want %v, nil, %q",
			wait, w.Source.Ready(nil), w.logged.Text, later, waitsForRegistration)
	}
	if said := text.String(); !strings.Contains(said, "run helm upgrade with the same values") {
		t.Errorf("without info lines, the log is %q, want what to do", said)
	}
	if _, err := api.Create(t.Context(), before, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.want("created", 6, 3, 0, 3)
	w.change(func(c *configuration) { c.Webhooks = c.Webhooks[1:2] })
	if w.look(t.Context()); !strings.Contains(w.logged.Text, "no webhook of tagpin's") {
		t.Errorf("only foreign webhooks: logged %q, want an error", w.logged.Text)
	}
}

// TestLastingStates checks that what is wrong for long is logged again after a while: an error,
// what a look waits for, and what differs in the registration.
func TestLastingStates(t *testing.T) {
	for want, change := range map[string]func(*fixture){
		"reading registration": func(w *fixture) {
			w.client.PrependReactor("get", "mutatingwebhookconfigurations", failing("no role"))
		},
		"the webhook does not serve yet": func(w *fixture) {
			w.change(clearRules)
			w.down = errors.New("down")
		},
		"enforce.tagpin.dev: failurePolicy": func(w *fixture) {
			w.change(func(c *configuration) {
				ignore := admissionregistrationv1.Ignore
				c.Webhooks[0].FailurePolicy = &ignore
			})
		},
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newFixture(t)
				w.change(func(c *configuration) { c.Webhooks = installed(t, w.with) })
				w.want("at first", 6, 3, 3, 3)
				said := 0
				w.Log = funcr.New(func(_, line string) { said += strings.Count(line, want) }, funcr.Options{})
				change(w)
				for range int(3 * reminder.Interval / time.Minute) {
					w.look(t.Context())
					time.Sleep(time.Minute)
				}
				if said != 3 {
					t.Errorf("logged %d times within %v, want 3", said, 3*reminder.Interval)
				}
			})
		})
	}
}

// TestNewCertificateWaits checks that a new certificate is not served before its CA is settled, if
// the registration has rules. Until then, the former one is served, and stays trusted.
func TestNewCertificateWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.want("at first", 6, 3, 0, 3)
		former := w.Source.Leaf()
		w.empty()
		w.look(t.Context())
		if got := w.Source.Leaf(); got != former {
			t.Errorf("serves %v at once, want the former certificate", got.Leaf.SerialNumber)
		}
		fresh := w.replica()
		fresh.look(t.Context())
		if err := fresh.Source.Ready(nil); !errors.Is(err, certificate.ErrNone) {
			t.Errorf("new replica: Ready = %v, want %v", err, certificate.ErrNone)
		}
		time.Sleep(10 * time.Second)
		w.look(t.Context())
		fresh.look(t.Context())
		if got := w.Source.Leaf(); got == former || !got.Leaf.Equal(fresh.Source.Leaf().Leaf) {
			t.Errorf("ten seconds later: serves %v, want the new one, as the other replica does",
				got.Leaf.SerialNumber)
		}
		for _, hook := range webhooks(w.live()) {
			if err := w.verify(former, hook); err != nil {
				t.Errorf("%s does not trust the former certificate: %v", hook.Name, err)
			}
		}
	})
}

// empty removes keys from the secret, or all of them if none is given.
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

// TestSecretIsGone checks that without the secret, everything that doesn't need it is done.
func TestSecretIsGone(t *testing.T) {
	w := newFixture(t)
	w.want("at first", 6, 3, 0, 3)
	secrets := w.client.CoreV1().Secrets(ownSpace)
	if err := secrets.Delete(t.Context(), ownSecret, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.with = &registration.Registration{PodsOnly: true}
	w.want("with another config", 1, 1, 0, 1)
	if !strings.Contains(w.logged.Text, "does not exist: apply the manifests") ||
		w.Source.Ready(nil) != nil {
		t.Errorf("logged %q, Ready = %v, want an error about the secret, and nil",
			w.logged.Text, w.Source.Ready(nil))
	}
	if got := testutil.ToFloat64(w.renewals.WithLabelValues("failed")); got != 1 {
		t.Errorf("%v failures counted, want 1", got)
	}
}

// TestSecretCannotBeWritten checks that the certificate in the secret is served and trusted if the
// secret can't be written.
func TestSecretCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.want("at first", 6, 3, 0, 3)
		time.Sleep(70 * 24 * time.Hour) // the leaf is due for renewal
		w.client.PrependReactor("update", "secrets", failing("field is immutable"))
		w.change(func(c *configuration) {
			clearRules(c)
			clearCAs(c)
		})
		second := w.replica()
		const looks = 1 + enoughReached
		for range looks {
			if second.look(t.Context()); !strings.Contains(second.logged.Text, "field is immutable") {
				t.Errorf("logged %q, want the error of the update", second.logged.Text)
			}
		}
		if err := second.Source.Ready(nil); err != nil {
			t.Errorf("new replica: Ready = %v, want nil", err)
		}
		if err := w.trusts(w.Registrar); err != nil || fewestRules(w.live()) != 3 {
			t.Errorf("trusted: %v; %d rules, want nil and 3", err, fewestRules(w.live()))
		}
		if got := testutil.ToFloat64(second.renewals.WithLabelValues("failed")); got != looks {
			t.Errorf("%v failures counted, want %d", got, looks)
		}
	})
}

// noRead makes the API server refuse to read the registration.
func (w *fixture) noRead() {
	w.client.PrependReactor("get", "mutatingwebhookconfigurations", failing("no role"))
}

// TestRegistrationCannotBeRead checks that a new leaf of the same CA is served if the registration
// can't be read, but no leaf of another CA.
func TestRegistrationCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.want("at first", 6, 3, 0, 3)
		former := w.Source.Leaf()
		w.noRead()
		w.empty("tls.crt")
		if w.look(t.Context()); !strings.Contains(w.logged.Text, "no role") || w.Source.Leaf() == former {
			t.Errorf("logged %q, serves the former leaf: %t, want the error and false",
				w.logged.Text, w.Source.Leaf() == former)
		}
		renewed := w.Source.Leaf()
		w.empty()
		w.look(t.Context())
		time.Sleep(time.Hour)
		if w.look(t.Context()); w.Source.Leaf() != renewed {
			t.Error("serves a leaf of a CA that may not be trusted")
		}
		if got := testutil.ToFloat64(w.updates.WithLabelValues("failed")); got != 3 {
			t.Errorf("%v failures counted, want 3", got)
		}
	})
}

// TestStartsWithoutTheRegistration checks that a replica that starts while the registration can't
// be read serves a leaf whose CA is no longer new. The metric of the rules is absent, because 0
// would cause an alert.
func TestStartsWithoutTheRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.want("at first", 6, 3, 0, 3)
		w.noRead()
		fresh := w.replica()
		fresh.look(t.Context())
		if err := fresh.Source.Ready(nil); !errors.Is(err, certificate.ErrNone) {
			t.Errorf("new CA: Ready = %v, want %v", err, certificate.ErrNone)
		}
		time.Sleep(time.Minute)
		fresh.look(t.Context())
		if err := fresh.Source.Ready(nil); err != nil || !strings.Contains(fresh.logged.Text, "no role") {
			t.Errorf("older CA: Ready = %v, logged %q, want nil and the error", err, fresh.logged.Text)
		}
		if got := testutil.CollectAndCount(fresh.rules); got != 0 {
			t.Errorf("%d metrics of rules, want none", got)
		}
		w.client.ReactionChain = w.client.ReactionChain[1:]
		if fresh.look(t.Context()); testutil.ToFloat64(fresh.rules) != 3 {
			t.Errorf("the registration can be read: metric of rules = %v, want 3",
				testutil.ToFloat64(fresh.rules))
		}
	})
}

// TestRestoredSecretWaits checks that the leaf of a secret that was restored from a backup is not
// served at once: its CA is old, but new to the API servers.
func TestRestoredSecretWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, backup := newFixture(t), newFixture(t)
		backup.look(t.Context())
		time.Sleep(time.Hour)
		w.want("at first", 6, 3, 0, 3)
		former := w.Source.Leaf()
		secrets := backup.client.CoreV1().Secrets(ownSpace)
		old, err := secrets.Get(t.Context(), ownSecret, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		secrets = w.client.CoreV1().Secrets(ownSpace)
		if _, err := secrets.Update(t.Context(), old, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if w.look(t.Context()); w.Source.Leaf() != former {
			t.Error("serves the restored leaf at once")
		}
		time.Sleep(10 * time.Second)
		if w.look(t.Context()); !w.Source.Leaf().Leaf.Equal(backup.Source.Leaf().Leaf) {
			t.Errorf("does not serve the restored leaf ten seconds later (logged last: %q)", w.logged.Text)
		}
	})
}

// TestRun checks that Run looks at once after Changed, and ends with its context.
func TestRun(t *testing.T) {
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
		w.want("another config", 0, 1, 0, 1)
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// TestBackoff checks that the time between looks doubles while there is an error, up to the time
// between looks without one.
func TestBackoff(t *testing.T) {
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
		want := []time.Duration{s, 2 * s, 4 * s, 8 * s, 10 * s, 10 * s, s, s}
		if !slices.Equal(waits, want) {
			t.Errorf("times between looks = %v, want %v", waits, want)
		}
	})
}

// TestRegistrationIsRefused checks that a replica serves its certificate if the API server refuses
// to write the registration.
func TestRegistrationIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.want("at first", 6, 3, 0, 3)
		time.Sleep(time.Hour)
		w.client.PrependReactor("patch", "mutatingwebhookconfigurations", failing("refused"))
		w.with = &registration.Registration{PodsOnly: true}
		second := w.replica()
		for range 3 {
			second.look(t.Context())
		}
		if err := second.Source.Ready(nil); err != nil {
			t.Errorf("new replica: Ready = %v, want nil (logged last: %q)", err, second.logged.Text)
		}
		if got := testutil.ToFloat64(second.updates.WithLabelValues("failed")); got == 0 {
			t.Error("no failure counted")
		}
		if got := testutil.ToFloat64(second.rules); got != 3 {
			t.Errorf("metric of rules = %v, want 3", got)
		}
	})
}
