// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/poll"
)

const (
	namespace        = "certificates"
	secretName       = "tagpin-webhook-tls"
	registrationName = "zz-certificates"
	serverName       = "tagpin-webhook.certificates.svc"
	day              = 24 * time.Hour
)

// TestCertificates follows an installation. Each step continues where the previous one ended.
func TestCertificates(t *testing.T) {
	f := &fixture{service: startService(t), config: filepath.Join(t.TempDir(), "config.yaml")}
	t.Cleanup(func() { f.end(t) })
	f.install(t)
	for _, step := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"nothing is denied before a replica runs", f.beforeServing},
		{"three replicas converge on an empty secret", f.converge},
		{"nothing is denied before the Service has an endpoint", f.withoutEndpoint},
		{"the rules are written with the endpoint", f.withEndpoint},
		{"the namespace owns the registration", f.owned},
		{"the permissions are those that are needed", f.permissions},
		{"applying the manifest again keeps what the replicas have written", f.applyAgain},
		{"a new certificate under load", f.rotateLeaf},
		{"a new CA under load", f.rotateCA},
		{"an emptied secret under load", f.emptySecret},
		{"another config changes the rules", f.reload},
		{"a registration without rules is filled in again", f.replaced},
		{"the registration is deleted with its namespace", f.deleteNamespace},
	} {
		if !t.Run(step.name, step.do) {
			f.logs(t)
			t.FailNow()
		}
	}
}

func (f *fixture) beforeServing(t *testing.T) {
	if err := f.create(t.Context(), "early"); err == nil || !strings.Contains(err.Error(), "is not pinned") {
		t.Errorf("a pod before a replica runs: %v, want it admitted unpinned", err)
	}
}

func (f *fixture) converge(t *testing.T) {
	f.service.setClosed(true)
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() { f.start(t, fmt.Sprintf("replica-%d", i)) })
	}
	group.Wait()
	if len(f.service.all()) != 3 {
		t.FailNow()
	}
	leaf := f.wantLeaf(t, anyLeaf)
	secret := f.secret(t)
	if cas := certificatesOf(t, secret.Data["ca.crt"]); len(cas) != 1 || leaf.CheckSignatureFrom(cas[0]) != nil {
		t.Errorf("the secret has %d CAs, want only the CA of the certificate", len(cas))
	}
	for _, r := range f.service.all() {
		if got, err := r.Metric(t.Context(), "tagpin_certificate_expiry_timestamp_seconds", `kind="leaf"`); err != nil || int64(got) != leaf.NotAfter.Unix() {
			t.Errorf("%s reports %v (%v) as the time when its certificate expires, want %d", r.Address(), got, err, leaf.NotAfter.Unix())
		}
	}
}

// withoutEndpoint creates pods while all replicas are ready but the API server can't reach them
// yet.
func (f *fixture) withoutEndpoint(t *testing.T) {
	for n := range 40 {
		err := f.create(t.Context(), fmt.Sprintf("without-endpoint-%d", n))
		if err == nil || !strings.Contains(err.Error(), "is not pinned") {
			t.Fatalf("a pod while the Service has no endpoint: %v, want it admitted unpinned", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	f.wantRules(t, 0)
}

func (f *fixture) withEndpoint(t *testing.T) {
	f.service.setClosed(false)
	poll.Until(t, func(ctx context.Context) error {
		err := f.create(ctx, "with-endpoint")
		if err != nil && !strings.Contains(err.Error(), "is not pinned") {
			t.Errorf("denied: %v", err)
		}
		return err
	})
	f.wantRules(t, 3)
}

func (f *fixture) owned(t *testing.T) {
	space, err := env.Client.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	poll.Until(t, func(ctx context.Context) error {
		live, err := f.registration(ctx)
		if err != nil {
			return err
		}
		if len(live.OwnerReferences) != 1 || live.OwnerReferences[0].UID != space.UID {
			return fmt.Errorf("owners %v, want only namespace %s", live.OwnerReferences, space.UID)
		}
		return nil
	})
}

// deleteNamespace deletes the namespace as users do, while the controllers run.
func (f *fixture) deleteNamespace(t *testing.T) {
	f.owned(t)
	if err := env.StartControllers(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	clustertest.Kubectl(t, env, "", "delete", "namespace", namespace, "--wait=false")
	poll.Until(t, func(ctx context.Context) error {
		_, err := f.registration(ctx)
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		}
		return errors.New("the registration still exists")
	})
}

// permissions compares what the service account may do with what the replicas need.
func (f *fixture) permissions(t *testing.T) {
	for action, want := range map[string]string{
		"get secrets/tagpin-webhook-tls":                         "yes",
		"update secrets/tagpin-webhook-tls":                      "yes",
		"get mutatingwebhookconfigurations/zz-certificates":      "yes",
		"patch mutatingwebhookconfigurations/zz-certificates":    "yes",
		"delete mutatingwebhookconfigurations/zz-certificates":   "yes",
		"get services/tagpin-webhook":                            "yes",
		"get services":                                           "no",
		"get secrets":                                            "no",
		"list secrets":                                           "no",
		"watch secrets":                                          "no",
		"create secrets":                                         "no",
		"get mutatingwebhookconfigurations":                      "no",
		"update mutatingwebhookconfigurations/zz-certificates":   "no",
		"patch mutatingwebhookconfigurations/" + "zz-other-hook": "no",
	} {
		verb, resource, _ := strings.Cut(action, " ")
		out, stderr, err := env.RunKubectl(t.Context(), nil, "auth", "can-i", verb, resource, "-n", namespace,
			"--as=system:serviceaccount:"+namespace+":tagpin-webhook") // exits with 1 if the answer is no
		if got := strings.TrimSpace(out); got != want {
			t.Errorf("permission to %s = %s, want %s (%v, %s)", action, got, want, err, stderr)
		}
	}
	for _, r := range f.service.all() {
		if log := r.Log(); strings.Contains(log, "forbidden") {
			t.Errorf("a request of a replica was forbidden:\n%s", log)
		}
	}
}

func (f *fixture) applyAgain(t *testing.T) {
	before, err := f.registration(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	secret := f.secret(t)
	f.apply(t)
	f.wantRules(t, 3)
	after, err := f.registration(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range after.Webhooks {
		was, is := before.Webhooks[i].ClientConfig.CABundle, w.ClientConfig.CABundle
		if !bytes.Equal(was, is) || len(is) == 0 {
			t.Errorf("the caBundle of %s has changed", w.Name)
		}
	}
	if again := f.secret(t); !bytes.Equal(again.Data["tls.crt"], secret.Data["tls.crt"]) {
		t.Error("the secret's certificate has changed")
	}
}

// rotateLeaf replaces the secret's certificate by one that expires soon. The same CA signs the next
// one.
func (f *fixture) rotateLeaf(t *testing.T) {
	under(t, f, func() {
		former := f.wantLeaf(t, anyLeaf)
		ending := f.nearEnd(t, "tls.crt")
		leaf := f.wantLeaf(t, func(c *x509.Certificate) bool {
			return !c.Equal(former) && !c.Equal(ending)
		})
		if otherCA(former)(leaf) {
			t.Error("the CA has changed")
		}
	})
}

// rotateCA replaces the secret's CA by one that expires soon. A new CA is made, which then signs a
// new certificate.
func (f *fixture) rotateCA(t *testing.T) {
	under(t, f, func() {
		former := f.wantLeaf(t, anyLeaf)
		f.nearEnd(t, "ca.crt")
		f.wantLeaf(t, otherCA(former))
	})
	if cas := certificatesOf(t, f.secret(t).Data["ca.crt"]); len(cas) < 2 {
		t.Errorf("the secret has %d CAs, want the former one beside the new one", len(cas))
	}
}

// emptySecret removes everything from the secret. A CA and a certificate are made at once, and a
// replica that starts meanwhile uses them.
func (f *fixture) emptySecret(t *testing.T) {
	under(t, f, func() {
		former := f.wantLeaf(t, anyLeaf)
		secret := f.secret(t)
		secret.Data = nil
		f.update(t, secret)
		f.start(t, "replica-3")
		f.wantLeaf(t, otherCA(former))
	})
}

func (f *fixture) reload(t *testing.T) {
	updates := func(ctx context.Context, r *cluster.Tagpin) float64 {
		n, err := r.Metric(ctx, "tagpin_registration_updates_total")
		if err != nil {
			t.Error(err)
		}
		return n
	}
	before := map[*cluster.Tagpin]float64{}
	for _, r := range f.service.all() {
		before[r] = updates(t.Context(), r)
	}
	f.configure(t, ", pin: [pods]")
	f.wantRules(t, 1)
	for r, n := range before { // each has updated the registration, or found it up to date
		poll.Until(t, func(ctx context.Context) error {
			if updates(ctx, r) == n {
				return fmt.Errorf("%s has not checked the registration", r.Address())
			}
			return nil
		})
	}
	if err := f.create(t.Context(), "after-reload"); err != nil {
		t.Error(err)
	}
}

// replaced removes the rules, as a replacement by the chart's object does. The replicas write them
// again.
func (f *fixture) replaced(t *testing.T) {
	live, err := f.registration(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range live.Webhooks {
		w := &live.Webhooks[i]
		w.Rules, w.MatchConditions, w.ClientConfig.CABundle = nil, nil, nil
	}
	api := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if _, err := api.Update(t.Context(), live, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.wantRules(t, 1) // for pods only, as the previous step has configured
}
