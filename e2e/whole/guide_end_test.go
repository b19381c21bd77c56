// SPDX-License-Identifier: Apache-2.0

package whole

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/poll"
)

// emergency switches tagpin off while a policy denies unpinned images and something restores the
// registration, and then switches tagpin on again.
func (g *guide) emergency() {
	const policies = "kubectl apply -f deploy/policies/policy.yaml"
	g.shell(policies)
	g.run("kubectl delete mutatingwebhookconfiguration zz-tagpin")
	g.denied()
	g.run("kubectl scale deployment tagpin-webhook")
	g.run("kubectl delete validatingadmissionpolicybinding")
	g.pinned(false)
	tagpinReady(g.t, g.n, 0)
	g.shell("helm template tagpin deploy/chart --namespace tagpin-system --values " + g.n.ValuesFile() +
		" --show-only templates/mutatingwebhookconfiguration.yaml | kubectl apply -f -")
	if out := g.shell("kubectl get mutatingwebhookconfiguration zz-tagpin -o yaml"); strings.Contains(out, "rules:") {
		g.t.Errorf("the restored registration has rules:\n%s", out)
	}
	g.pinned(false)
	g.shell("kubectl delete mutatingwebhookconfiguration zz-tagpin") // Helm can't change what kubectl has made
	g.run("helm upgrade tagpin deploy/chart --namespace tagpin-system --reset-then-reuse-values")
	g.shell(policies)
	tagpinReady(g.t, g.n, 2)
	g.pinned(true)
}

// denied waits until a policy denies a new pod in the namespace shop.
func (g *guide) denied() {
	t := g.t
	t.Helper()
	reference, _ := push(t, g.n, "denied", "one")
	poll.Until(t, func(ctx context.Context) error {
		_, err := clustertest.DryRun(ctx, g.n.Client, "shop", clustertest.Pod("probe", reference))
		if apierrors.IsForbidden(err) && strings.Contains(err.Error(), "has no digest") {
			return nil
		}
		return fmt.Errorf("the policy does not deny the pod: %w", err)
	})
}

// remove switches to the mode keep, uninstalls tagpin, checks that nothing is left, and installs it
// again.
func (g *guide) remove() {
	t := g.t
	reference, one := push(t, g.n, "kept", "one")
	apply(t, g.n, "shop", "kept", reference, 1)
	g.shell("kubectl create cronjob nightly --namespace shop --schedule '0 0 1 1 *' --image " + reference)
	w := want{ns: "shop", app: "kept", replicas: 1, digest: one, code: "one"}
	w.runs(t, g.n)
	push(t, g.n, "kept", "two")
	g.shell("kubectl delete -f deploy/policies/policy.yaml")
	g.run("helm upgrade tagpin deploy/chart --namespace tagpin-system --reset-then-reuse-values --set keepOnly=true")
	g.pinned(false)
	apply(t, g.n, "shop", "kept", reference, 1)
	if got := g.shell("kubectl get deployment kept -n shop -o jsonpath={.spec.template.spec.containers[0].image}"); got != reference+"@"+one {
		t.Errorf("image after another apply in the mode keep = %s, want the pin", got)
	}
	out := g.run("kubectl get deployments,statefulsets,daemonsets,cronjobs -A")
	if got := strings.Count(out, reference+"@"+one); got != 2 || !strings.Contains(out, "nightly") {
		t.Errorf("the pins are:\n%s\nwant those of kept and nightly", out)
	}
	apply(t, g.n, "shop", "kept", reference+"@"+one, 1)
	g.run("helm uninstall tagpin --namespace tagpin-system")
	g.nothingLeft()
	g.pinned(false)
	apply(t, g.n, "shop", "kept", reference+"@"+one, 1)
	w.runs(t, g.n)
	if out := g.shell("kubectl get replicasets -n shop -l app=kept -o name"); strings.Count(out, "\n") != 1 {
		t.Errorf("the pins in the manifest caused a rollout: %s", out)
	}
	g.manual()
	g.run("helm install tagpin deploy/chart")
	tagpinReady(t, g.n, 2)
	g.pinned(true)
}

// manual installs tagpin with a registration that is applied by hand, and uninstalls it.
func (g *guide) manual() {
	t, dir := g.t, g.t.TempDir()
	leaf, err := g.n.CA.IssueFor("tagpin-webhook.tagpin-system.svc")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"tls.crt": leaf.CertPEM, "tls.key": leaf.KeyPEM, "ca.crt": g.n.CA.PEM} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g.shell("kubectl create secret generic given --namespace tagpin-system --from-file " + dir)
	g.shell("helm install tagpin deploy/chart --namespace tagpin-system --values " + g.n.ValuesFile() +
		" --set registration=manual,certificates.mode=given,certificates.secret=given --set-file certificates.caBundle=" + dir + "/ca.crt")
	g.run("kubectl rollout status deployment/tagpin-webhook --namespace tagpin-system")
	register := g.take("kubectl get configmap tagpin-webhook --namespace tagpin-system --output jsonpath=")
	g.shell(register)
	// The pods have the new config only later.
	g.shell("helm upgrade tagpin deploy/chart --namespace tagpin-system --reset-then-reuse-values --set timeoutSeconds=7")
	g.shell(register)
	if got := g.shell("kubectl get mutatingwebhookconfiguration zz-tagpin -o jsonpath={.webhooks[0].timeoutSeconds}"); got != "7" {
		g.t.Errorf("timeoutSeconds of the registration = %s, want that of the values, 7", got)
	}
	g.run("kubectl annotate mutatingwebhookconfiguration zz-tagpin cert-manager.io")
	g.run("uid=$(kubectl get namespace tagpin-system")
	g.pinned(true)
	g.shell("kubectl delete mutatingwebhookconfiguration zz-tagpin")
	g.shell("helm uninstall tagpin --namespace tagpin-system --wait")
	g.shell("kubectl delete secret given --namespace tagpin-system")
}

// nothingLeft checks that the cluster has no object of tagpin.
func (g *guide) nothingLeft() {
	t := g.t
	api := g.n.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err := api.Get(t.Context(), "zz-tagpin", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("getting the registration: %v, want it not found", err)
	}
	poll.Until(t, func(context.Context) error { // pods take a while to end
		const kinds = "mutatingwebhookconfigurations,validatingadmissionpolicies," +
			"validatingadmissionpolicybindings,clusterroles,clusterrolebindings,deployments," +
			"replicasets,pods,services,configmaps,secrets,serviceaccounts,roles,rolebindings," +
			"poddisruptionbudgets,networkpolicies,resourcequotas"
		out := g.shell("kubectl get " + kinds + " -A -l app.kubernetes.io/name=tagpin -o name")
		if out != "" {
			return errors.New("these objects are left: " + out)
		}
		return nil
	})
}
