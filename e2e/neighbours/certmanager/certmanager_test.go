// SPDX-License-Identifier: Apache-2.0

package certmanager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// TestIssued installs tagpin, updates it, renews its certificate, and removes it.
func TestIssued(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "cert-manager's controllers run in a program of these tests, because Go can't download its own. The chart is installed. While pods are created without a pause, it is updated, and cert-manager renews the certificate. Then the chart is removed.",
		Result:   "cert-manager issues the certificate and writes its CA into the registration. No pod is refused before tagpin runs. During the update and the renewal no pod is refused or left unpinned, although the mounted certificate changes later than the secret. After the removal nothing is pinned, and cert-manager's secrets are left.",
		Settings: "`certificates.mode: cert-manager`",
	})
	r := install(t)
	r.wantUnpinned("before tagpin runs")
	r.serve()
	r.wantServed()
	before, err := caBundle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.under(func(more func()) {
		r.apply("timeoutSeconds=9")
		more()
		r.renew("tagpin-webhook", secretName)
		more()
		r.mount()
		r.wantServed()
	})
	live, err := registration(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range live.Webhooks {
		same := bytes.Equal(w.ClientConfig.CABundle, before)
		if len(w.Rules) == 0 || *w.TimeoutSeconds != 9 || !same {
			t.Errorf("%s has %d rules, a timeout of %d s, and the same CA: %t, want rules, 9 s, true",
				w.Name, len(w.Rules), *w.TimeoutSeconds, same)
		}
	}
	if err := r.uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := registration(t.Context()); !apierrors.IsNotFound(err) {
		t.Errorf("reading the registration after the removal: %v, want not found", err)
	}
	r.wantUnpinned("after the removal")
	for _, name := range []string{secretName, caSecret} {
		if _, err := readSecret(t.Context(), name); err != nil {
			t.Errorf("reading cert-manager's secret after the removal: %v", err)
		}
	}
}

// TestNewCA renews the CA, and then the certificate, which the new CA signs.
func TestNewCA(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "While pods are created without a pause, cert-manager renews the chart's CA, which gets a new key, and then the certificate.",
		Result:   "No pod is refused or left unpinned. cert-manager adds the new CA to the registration when the new certificate is in the secret, and leaves the old one beside it, so the API server trusts tagpin before and after it has loaded the new certificate.",
		Settings: "`certificates.mode: cert-manager`",
	})
	r := install(t)
	r.serve()
	r.under(func(more func()) {
		r.renew("tagpin-ca", caSecret)
		more()
		r.renew("tagpin-webhook", secretName)
		r.wantTrusted(2)
		more()
		r.mount()
		r.wantServed()
	})
}

// TestSelfSigned gives the chart an issuer without a CA, which the chart's own issuer is not.
func TestSelfSigned(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The certificate comes from an issuer of the type SelfSigned. cert-manager renews it while pods are created without a pause.",
		Result:   "No pod is refused or left unpinned. The registration trusts the new certificate and the old one.",
		Settings: "`certificates.issuerRef`",
	})
	r := installSelfSigned(t)
	r.under(func(more func()) {
		r.renew("tagpin-webhook", secretName)
		r.wantTrusted(2)
		more()
		r.mount()
		r.wantServed()
	})
}

// TestReplacedCA has a cainjector that replaces CAs, as by default before cert-manager 1.19.
func TestReplacedCA(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The same, with a cainjector that replaces the CA in the registration, as that of cert-manager before 1.19 does.",
		Result:   "The API server refuses what needs a pin until tagpin has loaded the new certificate. On a node the kubelet updates a mounted secret within a minute or two.",
		Settings: "`--feature-gates=CAInjectorMerging=false` of the cainjector. Don't set it, and with an older cert-manager don't use an issuer of the type SelfSigned",
	})
	restart := func(args ...string) {
		if err := cainjector.Kill(); err != nil {
			t.Fatal(err)
		}
		cainjector.Args = args
		if err := cainjector.Start(); err != nil {
			t.Fatal(err)
		}
	}
	restart("--feature-gates=CAInjectorMerging=false")
	t.Cleanup(func() { restart() })
	r := installSelfSigned(t)
	r.renew("tagpin-webhook", secretName)
	r.Eventually("a refused pod", func(ctx context.Context) error {
		err := r.pinned(ctx)
		if err == nil || !strings.Contains(err.Error(), "x509: certificate signed by unknown authority") {
			return fmt.Errorf("creating a pod: %w, want an unknown authority", err)
		}
		return nil
	})
	r.wantTrusted(1)
	r.mount()
	r.wantServed()
	r.Eventually("pinned pods", r.pinned)
}

// installSelfSigned installs the chart with an issuer of the type SelfSigned, and starts tagpin.
func installSelfSigned(t *testing.T) *release {
	t.Helper()
	clustertest.Kubectl(t, env, `
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: own, namespace: tagpin-system}
spec: {selfSigned: {}}
`, "apply", "-f", "-")
	r := install(t, "certificates.issuerRef.name=own")
	r.serve()
	return r
}

// wantUnpinned waits until a pod is admitted unpinned.
func (r *release) wantUnpinned(when string) {
	r.t.Helper()
	r.Eventually("an unpinned pod "+when, func(ctx context.Context) error {
		switch err := r.pinned(ctx); {
		case errors.Is(err, errUnpinned):
			return nil
		case err != nil:
			r.t.Fatalf("a pod %s: %v", when, err)
		}
		return errors.New("it is pinned")
	})
}

// wantTrusted waits until the registration has n CAs, of which the last one is that of the secret.
func (r *release) wantTrusted(n int) {
	r.t.Helper()
	secret, err := readSecret(r.t.Context(), secretName)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Eventually("the CA of the secret in the registration", func(ctx context.Context) error {
		bundle, err := caBundle(ctx)
		if err != nil {
			return err
		}
		got := bytes.Count(bundle, []byte("BEGIN CERTIFICATE"))
		if got != n || !bytes.HasSuffix(bundle, secret.Data["ca.crt"]) {
			return fmt.Errorf("it has %d CAs: %q, want %d, and %q last", got, bundle, n, secret.Data["ca.crt"])
		}
		return nil
	})
}
