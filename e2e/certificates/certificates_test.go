// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/poll"
)

const (
	namespace  = "certificates"
	secretName = "tagpin-webhook-tls"
	hookName   = "zz-certificates"
	serverName = "tagpin-webhook.certificates.svc"
	day        = 24 * time.Hour
)

// fixture is three replicas behind a service, and a namespace where pods are pinned.
type fixture struct {
	service *service
	pods    string // the namespace
	image   string
	config  string // path
}

// TestCertificates is the life of an installation: each step goes on where the last one has ended.
func TestCertificates(t *testing.T) {
	f := &fixture{service: startService(t), config: filepath.Join(t.TempDir(), "config.yaml")}
	t.Cleanup(func() { f.end(t) })
	f.install(t)
	for _, step := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"nothing is denied before a server serves", f.beforeServing},
		{"three replicas converge on an empty secret", f.converge},
		{"nothing is denied before the Service has an endpoint", f.withoutEndpoint},
		{"rules come with the endpoint", f.withEndpoint},
		{"the registration is its namespace's", f.owned},
		{"the rights are those that are used", f.rights},
		{"the manifest applied again leaves what the servers put in", f.applyAgain},
		{"leaf rotation under load", f.rotateLeaf},
		{"CA rotation under load", f.rotateCA},
		{"an emptied secret under load", f.emptySecret},
		{"another config, other rules", f.reload},
		{"a registration without rules is filled again", f.replaced},
		{"the registration goes with its namespace", f.deleteNamespace},
	} {
		if !t.Run(step.name, step.do) {
			f.logs(t)
			t.FailNow()
		}
	}
}

func (f *fixture) install(t *testing.T) {
	t.Helper()
	f.configure(t, "")
	f.apply(t)
	ns, err := env.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "certificates-", Labels: map[string]string{"certificates.e2e/mode": "enforce"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f.pods = ns.Name
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := env.Client.CoreV1().ServiceAccounts(f.pods).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Open.PushImage("certificates/app:1"); err != nil {
		t.Fatal(err)
	}
	f.image = env.Open.Host + "/certificates/app:1"
}

// configure writes the config of all replicas.
func (f *fixture) configure(t *testing.T, more string) {
	t.Helper()
	ca := filepath.Join(filepath.Dir(f.config), "ca.crt")
	text := fmt.Sprintf("apiVersion: tagpin.dev/v1alpha1\nkind: Config\nnetwork: {allow: [127.0.0.0/8]}\ncredentials: {pullSecrets: false}\n"+
		"registries: [{host: %q, caFile: %q}]\nregistration: {name: %s%s}\n", env.Open.Host, ca, hookName, more)
	for _, err := range []error{
		os.WriteFile(ca, env.CA.PEM, 0o600),
		os.WriteFile(f.config+".new", []byte(text), 0o600),
		os.Rename(f.config+".new", f.config),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// apply applies the manifests as users do, and again as Helm does.
func (f *fixture) apply(t *testing.T) {
	t.Helper()
	for _, file := range []string{"install.yaml", "registration.yaml"} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		manifest := strings.ReplaceAll(string(text), "PORT", f.service.port())
		for _, flags := range [][]string{{"apply", "-f", "-"}, {"apply", "--server-side", "--field-manager=helm", "--force-conflicts", "-f", "-"}} {
			if _, _, err := env.RunKubectl(t.Context(), strings.NewReader(manifest), flags...); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (f *fixture) start(t *testing.T, name string) {
	r, err := env.StartReplica(t.Context(), cluster.Replica{Name: name, Namespace: namespace, ServiceAccount: "tagpin-webhook", Config: f.config})
	if err != nil {
		t.Error(err)
		return
	}
	f.service.add(r)
}

func (f *fixture) logs(t *testing.T) {
	for _, r := range f.service.all() {
		t.Logf("== %s\n%s", r.LogFile, r.Log())
	}
}

func (f *fixture) registration(ctx context.Context) (*admissionregistrationv1.MutatingWebhookConfiguration, error) {
	return env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, hookName, metav1.GetOptions{})
}

// wantRules waits until each webhook has so many rules.
func (f *fixture) wantRules(t *testing.T, n int) {
	t.Helper()
	poll.Until(t, func(ctx context.Context) error {
		live, err := f.registration(ctx)
		if err != nil {
			return err
		}
		for _, w := range live.Webhooks {
			if len(w.Rules) != n || n > 0 && len(w.MatchConditions) != 4 {
				return fmt.Errorf("%s has %d rules and %d conditions, want %d and 4", w.Name, len(w.Rules), len(w.MatchConditions), n)
			}
		}
		return nil
	})
}

// wantLeaf waits until all replicas serve one certificate, which the registration trusts, and that holds.
func (f *fixture) wantLeaf(t *testing.T, holds func(*x509.Certificate) bool) (leaf *x509.Certificate) {
	t.Helper()
	poll.Until(t, func(ctx context.Context) error {
		live, err := f.registration(ctx)
		if err != nil {
			return err
		}
		leaf = nil
		for _, r := range f.service.all() {
			shown, err := handshake(ctx, r.Address(), live.Webhooks[0].ClientConfig.CABundle)
			switch {
			case err != nil:
				return err
			case leaf != nil && !leaf.Equal(shown):
				return errors.New("replicas serve different certificates")
			case !holds(shown):
				return fmt.Errorf("%s serves %x still", r.Address(), shown.SerialNumber)
			}
			leaf = shown
		}
		return nil
	})
	return leaf
}

func (f *fixture) beforeServing(t *testing.T) {
	if err := f.create(t.Context(), "early"); err == nil || !strings.Contains(err.Error(), "is not pinned") {
		t.Errorf("a pod before a server serves: %v, want it admitted as it is", err)
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
	leaf := f.wantLeaf(t, func(*x509.Certificate) bool { return true })
	secret := f.secret(t)
	if cas := certificatesOf(t, secret.Data["ca.crt"]); len(cas) != 1 || leaf.CheckSignatureFrom(cas[0]) != nil {
		t.Errorf("the secret has %d CAs, want the one that all are served by", len(cas))
	}
	for _, r := range f.service.all() {
		if got, err := r.Metric(t.Context(), "tagpin_certificate_expiry_timestamp_seconds", `kind="leaf"`); err != nil || int64(got) != leaf.NotAfter.Unix() {
			t.Errorf("%s tells of %v as the leaf's end (%v), want %d", r.Address(), got, err, leaf.NotAfter.Unix())
		}
	}
}

// withoutEndpoint creates pods while all replicas are ready, but API servers can't reach them yet.
func (f *fixture) withoutEndpoint(t *testing.T) {
	for n := range 40 {
		err := f.create(t.Context(), fmt.Sprintf("without-endpoint-%d", n))
		if err == nil || !strings.Contains(err.Error(), "is not pinned") {
			t.Fatalf("a pod while the Service has no endpoint: %v, want it admitted as it is", err)
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
			return fmt.Errorf("owners %v, want namespace %s alone", live.OwnerReferences, space.UID)
		}
		return nil
	})
}

// deleteNamespace deletes the namespace as people do, with the controllers that see to it.
func (f *fixture) deleteNamespace(t *testing.T) {
	f.owned(t)
	if err := env.StartControllers(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := env.RunKubectl(t.Context(), nil, "delete", "namespace", namespace, "--wait=false"); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, func(ctx context.Context) error {
		_, err := f.registration(ctx)
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		}
		return errors.New("the registration is there still")
	})
}

// rights compares what the service account may do with what the replicas have to.
func (f *fixture) rights(t *testing.T) {
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
			"--as=system:serviceaccount:"+namespace+":tagpin-webhook") // it exits with 1 for a no
		if got := strings.TrimSpace(out); got != want {
			t.Errorf("may it %s: %s, want %s (%v, %s)", action, got, want, err, stderr)
		}
	}
	for _, r := range f.service.all() {
		if log := r.Log(); strings.Contains(log, "forbidden") {
			t.Errorf("something was refused:\n%s", log)
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
		if string(w.ClientConfig.CABundle) != string(before.Webhooks[i].ClientConfig.CABundle) || len(w.ClientConfig.CABundle) == 0 {
			t.Errorf("%s: the caBundle is another one", w.Name)
		}
	}
	if again := f.secret(t); string(again.Data["tls.crt"]) != string(secret.Data["tls.crt"]) {
		t.Error("the secret's certificate is another one")
	}
}

// rotateLeaf makes the leaf of the secret one that is near its end: the next one is of the same CA.
func (f *fixture) rotateLeaf(t *testing.T) {
	under(t, f, func() {
		former := f.wantLeaf(t, func(*x509.Certificate) bool { return true })
		ending := f.nearEnd(t, "tls.crt")
		leaf := f.wantLeaf(t, func(c *x509.Certificate) bool { return !c.Equal(former) && !c.Equal(ending) })
		if string(leaf.AuthorityKeyId) != string(former.AuthorityKeyId) {
			t.Error("the CA is another one")
		}
	})
}

// rotateCA makes the CA of the secret one that is near its end: another one comes, and then a leaf of it.
func (f *fixture) rotateCA(t *testing.T) {
	under(t, f, func() {
		former := f.wantLeaf(t, func(*x509.Certificate) bool { return true })
		f.nearEnd(t, "ca.crt")
		f.wantLeaf(t, func(c *x509.Certificate) bool { return string(c.AuthorityKeyId) != string(former.AuthorityKeyId) })
	})
	if cas := certificatesOf(t, f.secret(t).Data["ca.crt"]); len(cas) < 2 {
		t.Errorf("%d CAs, want the former one beside the new one", len(cas))
	}
}

// emptySecret loses all that is in the secret: CA and leaf come anew, at once, and a replica that starts meanwhile has no other.
func (f *fixture) emptySecret(t *testing.T) {
	under(t, f, func() {
		former := f.wantLeaf(t, func(*x509.Certificate) bool { return true })
		secret := f.secret(t)
		secret.Data = nil
		f.update(t, secret)
		f.start(t, "replica-3")
		f.wantLeaf(t, func(c *x509.Certificate) bool { return string(c.AuthorityKeyId) != string(former.AuthorityKeyId) })
	})
}

func (f *fixture) reload(t *testing.T) {
	looks := func(ctx context.Context, r *cluster.Tagpin) float64 {
		n, err := r.Metric(ctx, "tagpin_registration_updates_total")
		if err != nil {
			t.Error(err)
		}
		return n
	}
	before := map[*cluster.Tagpin]float64{}
	for _, r := range f.service.all() {
		before[r] = looks(t.Context(), r)
	}
	f.configure(t, ", pin: [pods]")
	f.wantRules(t, 1)
	for r, n := range before { // each has seen to it, or found it done
		poll.Until(t, func(ctx context.Context) error {
			if looks(ctx, r) == n {
				return fmt.Errorf("%s has not looked", r.Address())
			}
			return nil
		})
	}
	if err := f.create(t.Context(), "after-reload"); err != nil {
		t.Error(err)
	}
}

// replaced takes the rules out, as a replace by the chart's object does: they are put back.
func (f *fixture) replaced(t *testing.T) {
	live, err := f.registration(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range live.Webhooks {
		live.Webhooks[i].Rules, live.Webhooks[i].MatchConditions, live.Webhooks[i].ClientConfig.CABundle = nil, nil, nil
	}
	if _, err := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Update(t.Context(), live, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.wantRules(t, 1) // of pods alone, as the step before has configured
}

// end ends the replicas, and takes out the registration: nobody is there for it any more.
func (f *fixture) end(t *testing.T) {
	for _, r := range f.service.all() {
		if err := r.Kill(); err != nil {
			t.Error(err)
		}
	}
	ctx := context.WithoutCancel(t.Context())
	if err := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(ctx, hookName, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

func (f *fixture) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	secret, err := env.Client.CoreV1().Secrets(namespace).Get(t.Context(), secretName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func (f *fixture) update(t *testing.T, secret *corev1.Secret) {
	t.Helper()
	if _, err := env.Client.CoreV1().Secrets(namespace).Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// nearEnd makes a certificate of the secret end tomorrow, with its key and all else as it was, and returns what it is then.
func (f *fixture) nearEnd(t *testing.T, which string) *x509.Certificate {
	t.Helper()
	secret := f.secret(t)
	all := certificatesOf(t, secret.Data[which])
	ca := certificatesOf(t, secret.Data["ca.crt"])[0]
	block, _ := pem.Decode(secret.Data["ca.key"])
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	template := *all[0]
	template.NotAfter = time.Now().Add(day)
	template.SerialNumber = new(big.Int).Add(template.SerialNumber, big.NewInt(1))
	der, err := x509.CreateCertificate(rand.Reader, &template, ca, all[0].PublicKey, key.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	ending, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	all[0] = ending
	secret.Data[which] = nil
	for _, c := range all {
		secret.Data[which] = append(secret.Data[which], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	f.update(t, secret)
	return ending
}

func certificatesOf(t *testing.T, data []byte) (all []*x509.Certificate) {
	t.Helper()
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return all
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
}
