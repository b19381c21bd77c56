// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/pki"
	"github.com/tagpin/tagpin/e2e/poll"
)

// fixture is an installation with several replicas behind a Service, and a namespace whose pods are
// pinned.
type fixture struct {
	service *service
	pods    string // the namespace with pods
	image   string
	config  string // path
}

func (f *fixture) install(t *testing.T) {
	t.Helper()
	f.configure(t, "")
	f.apply(t)
	f.pods = clustertest.NewNamespace(t, env.Client, "certificates-",
		map[string]string{"certificates.e2e/mode": "enforce"})
	clustertest.NewServiceAccount(t, env.Client, f.pods, "default")
	f.image, _ = clustertest.Push(t, env.Open, "certificates/app:1")
}

// configure writes the config of all replicas. more is added to the registration.
func (f *fixture) configure(t *testing.T, more string) {
	t.Helper()
	ca := filepath.Join(filepath.Dir(f.config), "ca.crt")
	text := fmt.Sprintf("apiVersion: tagpin.dev/v1alpha1\nkind: Config\nnetwork: {allow: [127.0.0.0/8]}\ncredentials: {pullSecrets: false}\n"+
		"registries: [{host: %q, caFile: %q}]\nregistration: {name: %s%s}\n", env.Open.Host, ca, registrationName, more)
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

// apply applies the manifests as users do, and then as Helm does.
func (f *fixture) apply(t *testing.T) {
	t.Helper()
	for _, file := range []string{"install.yaml", "registration.yaml"} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		manifest := strings.ReplaceAll(string(text), "PORT", f.service.port())
		clustertest.Kubectl(t, env, manifest, "apply", "-f", "-")
		clustertest.Kubectl(t, env, manifest,
			"apply", "--server-side", "--field-manager=helm", "--force-conflicts", "-f", "-")
	}
}

func (f *fixture) start(t *testing.T, name string) {
	r, err := env.StartReplica(t.Context(), cluster.Replica{
		Name: name, Namespace: namespace, ServiceAccount: "tagpin-webhook", Config: f.config,
	})
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

func (f *fixture) registration(
	ctx context.Context,
) (*admissionregistrationv1.MutatingWebhookConfiguration, error) {
	api := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	return api.Get(ctx, registrationName, metav1.GetOptions{})
}

// wantRules waits until each webhook has n rules.
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

// wantLeaf waits until all replicas serve the same certificate, which the registration trusts and
// which accept accepts.
func (f *fixture) wantLeaf(
	t *testing.T, accept func(*x509.Certificate) bool,
) (leaf *x509.Certificate) {
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
			case !accept(shown):
				return fmt.Errorf("%s still serves certificate %x", r.Address(), shown.SerialNumber)
			}
			leaf = shown
		}
		return nil
	})
	return leaf
}

// end kills the replicas and deletes the registration.
func (f *fixture) end(t *testing.T) {
	for _, r := range f.service.all() {
		if err := r.Kill(); err != nil {
			t.Error(err)
		}
	}
	ctx := context.WithoutCancel(t.Context())
	api := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	err := api.Delete(ctx, registrationName, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

func (f *fixture) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	api := env.Client.CoreV1().Secrets(namespace)
	secret, err := api.Get(t.Context(), secretName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func (f *fixture) update(t *testing.T, secret *corev1.Secret) {
	t.Helper()
	api := env.Client.CoreV1().Secrets(namespace)
	if _, err := api.Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// nearEnd replaces a certificate of the secret by one that expires tomorrow but has the same key,
// and returns it.
func (f *fixture) nearEnd(t *testing.T, which string) *x509.Certificate {
	t.Helper()
	secret := f.secret(t)
	all := certificatesOf(t, secret.Data[which])
	text, err := pki.Reissue(secret.Data[which], secret.Data["ca.crt"], secret.Data["ca.key"],
		all[0].NotBefore, time.Now().Add(day))
	if err != nil {
		t.Fatal(err)
	}
	ending := certificatesOf(t, text)[0]
	secret.Data[which] = text
	for _, c := range all[1:] {
		secret.Data[which] = append(secret.Data[which], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	f.update(t, secret)
	return ending
}

// anyLeaf accepts every certificate.
func anyLeaf(*x509.Certificate) bool { return true }

// otherCA accepts certificates of another CA than the former one's.
func otherCA(former *x509.Certificate) func(*x509.Certificate) bool {
	return func(c *x509.Certificate) bool {
		return !bytes.Equal(c.AuthorityKeyId, former.AuthorityKeyId)
	}
}

// certificatesOf parses certificates in PEM.
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
