// SPDX-License-Identifier: Apache-2.0

package whole

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/node"
	"github.com/tagpin/tagpin/e2e/pki"
	"github.com/tagpin/tagpin/e2e/poll"
)

// logs is the beginning of the page's commands that look for a line of the log.
const logs = "kubectl logs --namespace tagpin-system --selector " +
	`app.kubernetes.io/component=webhook --ignore-errors --tail -1 | grep '"msg":`

// Words of the API server.
const (
	callFails   = "failed calling webhook"
	distrusted  = "x509: certificate signed by unknown authority"
	noEndpoints = "no endpoints available"
)

// unreachable drops the packets from the API server to tagpin's pods.
func (i *incident) unreachable() {
	var port int32
	for _, p := range replicas(i.t, i.n)[0].Spec.Containers[0].Ports {
		if p.Name == "webhook" {
			port = p.ContainerPort
		}
	}
	restore, err := i.n.Drop(i.t.Context(), int(port))
	if err != nil {
		i.t.Fatal(err)
	}
	passes := sync.OnceValue(restore)
	defer passes() //nolint:errcheck // only for a failure before it is called below
	i.fails("context deadline exceeded", "i/o timeout")
	i.heals()
	if err := passes(); err != nil {
		i.t.Fatal(err)
	}
	i.works(callFails)
}

// wrongCA puts a CA into the registration that has not signed tagpin's certificate. The server puts
// back its own.
func (i *incident) wrongCA() {
	i.registration(func(live *configuration) {
		for k := range live.Webhooks {
			live.Webhooks[k].ClientConfig.CABundle = i.n.CA.PEM
		}
	})
	i.heals()
	i.works(distrusted)
	i.run("kubectl get mutatingwebhookconfiguration zz-tagpin --output")
}

// expired makes the secret immutable, with a certificate that ends soon, so that nothing can renew
// it.
func (i *incident) expired() {
	i.reissue(time.Now().Add(-time.Hour), time.Now().Add(20*time.Second), true)
	poll.Until(i.t, func(context.Context) error {
		for _, pod := range replicas(i.t, i.n) {
			if isReady(&pod) {
				return errors.New(pod.Name + " is still ready")
			}
		}
		return nil
	})
	// Connections that the API server has go on. New pods have none.
	i.shell("kubectl delete pods --selector app.kubernetes.io/name=tagpin --namespace tagpin-system")
	i.fails(callFails, noEndpoints)
	i.heals()
	i.wantText("kubectl get secret tagpin-webhook-tls", "notAfter=")
	i.wantText(logs+`"certificates and registration"`, "immutable")
	i.run("kubectl delete secret tagpin-webhook-tls")
	i.run("helm upgrade tagpin deploy/chart")
	i.works(callFails)
}

// clock writes a certificate whose time has not come, as a machine does whose clock is two hours
// ahead. A server replaces it before any replica serves it.
func (i *incident) clock() {
	r := i.underLoad(func() {
		early := i.reissue(time.Now().Add(time.Hour), time.Now().Add(24*time.Hour), false)
		i.leafDiffers(early)
	})
	if r.Failed > 0 {
		i.t.Errorf("want no failure: %s", r)
	}
}

// reissue replaces the certificate in the secret by one with other dates, and returns it.
func (i *incident) reissue(notBefore, notAfter time.Time, immutable bool) (leaf []byte) {
	i.t.Helper()
	i.putSecret(func(s *corev1.Secret) {
		var err error
		leaf, err = pki.Reissue(
			s.Data["tls.crt"], s.Data["ca.crt"], s.Data["ca.key"], notBefore, notAfter)
		if err != nil {
			i.t.Fatal(err)
		}
		s.Data["tls.crt"] = leaf
		if immutable {
			s.Immutable = new(true)
		}
	})
	return leaf
}

// restored puts back the registration and the secret as they were before a change of the CA.
func (i *incident) restored() {
	api := i.n.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	former, err := api.Get(i.t.Context(), registrationName, metav1.GetOptions{})
	if err != nil {
		i.t.Fatal(err)
	}
	secret := i.secret()
	i.putSecret(func(s *corev1.Secret) { s.Data = nil })
	poll.Until(i.t, func(context.Context) error {
		if leaf := served(i.t, i.n); leaf == nil || leaf.Equal(leafOf(i.t, secret)) {
			return errors.New("the replicas don't serve a certificate of the new CA")
		}
		return nil
	})
	i.putSecret(func(s *corev1.Secret) { s.Data = secret.Data })
	i.registration(func(live *configuration) {
		live.Webhooks, live.Annotations = former.Webhooks, former.Annotations
	})
	i.heals()
	i.works(distrusted)
	poll.Until(i.t, func(context.Context) error {
		if leaf := served(i.t, i.n); leaf == nil || !leaf.Equal(leafOf(i.t, secret)) {
			return errors.New("the replicas don't serve the restored certificate")
		}
		return nil
	})
}

// fight replaces the registration by that of the chart whenever a server has filled it in, as a
// tool does that wants every field as it is in its manifest. Meanwhile deploys are stored unpinned,
// as the page says.
func (i *incident) fight() {
	const rounds = 3
	before := i.updates()
	i.passes = true
	defer func() { i.passes = false }()
	for range rounds {
		i.registration(func(live *configuration) {
			for k := range live.Webhooks {
				w := &live.Webhooks[k]
				w.Rules, w.MatchConditions, w.ClientConfig.CABundle = nil, nil, nil
			}
		})
		poll.Until(i.t, i.hasRules)
	}
	if after := i.updates(); after < before+rounds {
		i.t.Errorf("the servers have counted %d updates, want at least %d", after-before, rounds)
	}
	i.works()
	i.heals()
	i.wantText("kubectl get mutatingwebhookconfiguration zz-tagpin --show-managed-fields", "manager: ")
	i.wantText(logs+`"registration updated"`, "registration updated")
}

// hasRules returns an error if a webhook of the registration has no rules.
func (i *incident) hasRules(ctx context.Context) error {
	api := i.n.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	live, err := api.Get(ctx, registrationName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, w := range live.Webhooks {
		if len(w.Rules) == 0 {
			return fmt.Errorf("webhook %s has no rules", w.Name)
		}
	}
	return nil
}

// updates returns how often the replicas have updated the registration.
func (i *incident) updates() (sum int) {
	i.t.Helper()
	for _, pod := range replicas(i.t, i.n) {
		text := i.metric(&pod, `tagpin_registration_updates_total{result="updated"}`)
		var n int
		if _, err := fmt.Sscan(text, &n); text != "" && err != nil {
			i.t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// changedConfig upgrades to a config with which only pods are pinned, and goes back.
func (i *incident) changedConfig() {
	reference, _ := push(i.t, i.n, "template", "one")
	pinned := func(want bool) {
		i.t.Helper()
		const create = "kubectl create deployment template --dry-run=server --output yaml --namespace "
		poll.Until(i.t, func(context.Context) error {
			out := i.shell(create + i.ns + " --image " + reference)
			if got := strings.Contains(out, "@sha256:"); got != want {
				return fmt.Errorf("a Deployment is pinned: %t, want %t", got, want)
			}
			return nil
		})
	}
	pinned(true)
	i.configure("helm upgrade tagpin deploy/chart --namespace tagpin-system " +
		"--reset-then-reuse-values --wait --set 'pin={pods}'")
	pinned(false)
	i.works()
	i.heals()
	i.configure(i.take("helm rollback tagpin"))
	pinned(true)
}

// namespaceDeleted deletes tagpin's namespace, and installs tagpin again.
func (i *incident) namespaceDeleted() {
	i.shell("kubectl delete namespace tagpin-system --wait=false")
	i.heals()
	poll.Until(i.t, func(ctx context.Context) error {
		api := i.n.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
		_, err := api.Get(ctx, registrationName, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("the registration is still there (%w)", err)
		}
		_, err = i.n.Client.CoreV1().Namespaces().Get(ctx, node.TagpinNamespace, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("the namespace is still there (%w)", err)
		}
		return nil
	})
	i.heals()
	i.passes = true
	defer func() { i.passes = false }()
	i.shell("kubectl create namespace " + node.TagpinNamespace)
	ca := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "registry-ca"},
		Data:       map[string]string{"ca.crt": string(i.n.CA.PEM)},
	}
	api := i.n.Client.CoreV1().ConfigMaps(node.TagpinNamespace)
	if _, err := api.Create(i.t.Context(), ca, metav1.CreateOptions{}); err != nil {
		i.t.Fatal(err)
	}
	i.run("helm install tagpin deploy/chart")
	i.works()
}
