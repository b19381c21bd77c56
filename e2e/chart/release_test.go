// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// installer is a way to install or update tagpin, and to remove it.
type installer struct {
	apply  func(t *testing.T, set ...string)
	remove func(t *testing.T)
}

func installers() map[string]installer {
	all := map[string]installer{}
	for version := range helms {
		all["helm "+version] = installer{
			apply: func(t *testing.T, set ...string) {
				helm(t, version, append([]string{"upgrade", "--install", "tagpin", deploy + "/chart"}, set...)...)
			},
			remove: func(t *testing.T) { helm(t, version, "uninstall", "tagpin") },
		}
	}
	for name, flag := range map[string]string{
		"kubectl": "--server-side=false", "kubectl, by the server": "--server-side",
	} {
		template := func(t *testing.T, set ...string) string {
			return helm(t, "4", append([]string{"template", "tagpin", deploy + "/chart"}, set...)...)
		}
		all[name] = installer{
			apply: func(t *testing.T, set ...string) {
				kubectl(t, template(t, set...), "apply", flag, "-f", "-")
			},
			remove: func(t *testing.T) {
				kubectl(t, "", "delete", "mutatingwebhookconfiguration", registration)
				kubectl(t, template(t), "delete", "--ignore-not-found", "-f", "-")
			},
		}
	}
	return all
}

// TestUpdatesLeaveTheServersFields updates an installation in each way. What a server has written
// into the registration and the secret stays. Removal leaves nothing, and the registration is
// deleted first.
func TestUpdatesLeaveTheServersFields(t *testing.T) {
	for name, by := range installers() {
		t.Run(name, func(t *testing.T) {
			by.apply(t)
			for _, w := range webhooks(t) {
				if len(w.Rules) > 0 || len(w.MatchConditions) > 0 || len(w.ClientConfig.CABundle) > 0 {
					t.Errorf("%s has rules before a server has written them", w.Name)
				}
			}
			serve(t)
			want := webhooks(t)
			by.apply(t, "--set=replicas=3,timeoutSeconds=7")
			got := webhooks(t)
			for i := range want {
				if got[i].TimeoutSeconds == nil || *got[i].TimeoutSeconds != 7 {
					t.Errorf("the timeout of %s was not updated", got[i].Name)
				}
				want[i].TimeoutSeconds = got[i].TimeoutSeconds
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("webhooks after an update, -want +got:\n%s", diff)
			}
			api := env.Client.CoreV1().Secrets(namespace)
			secret, err := api.Get(t.Context(), "tagpin-webhook-tls", metav1.GetOptions{})
			if err != nil || string(secret.Data["tls.crt"]) != "certificate" {
				t.Errorf("the secret has %v, %v, want the server's certificate", secret.Data, err)
			}
			deletedAt := watchDeletions(t)
			by.remove(t)
			if rest := left(t); rest != "" {
				t.Errorf("these objects are left:\n%s", rest)
			}
			if registered, service := deletedAt(); registered == 0 || registered > service {
				t.Errorf("the registration was deleted at revision %d, the Service at %d, want it first",
					registered, service)
			}
		})
	}
}

// TestUninstallAfterTheSwitch uninstalls after the emergency switch, which has already deleted the
// registration.
func TestUninstallAfterTheSwitch(t *testing.T) {
	for version := range helms {
		t.Run("helm "+version, func(t *testing.T) {
			helm(t, version, "install", "tagpin", deploy+"/chart")
			kubectl(t, "", "delete", "mutatingwebhookconfiguration", registration)
			helm(t, version, "uninstall", "tagpin")
			if rest := left(t); rest != "" {
				t.Errorf("these objects are left:\n%s", rest)
			}
		})
	}
}

// TestModesOfCertificates changes the mode of certificates and changes it back, while the secret of
// the other mode exists, as cert-manager leaves it.
func TestModesOfCertificates(t *testing.T) {
	for version := range helms {
		t.Run("helm "+version, func(t *testing.T) {
			helm(t, version, "install", "tagpin", deploy+"/chart", "--set=certificates.mode=cert-manager")
			defer helm(t, version, "uninstall", "tagpin")
			secret, _ := kubectl(t, "", "get", "certificate", "tagpin-webhook", "-n", namespace,
				"-o", "jsonpath={.spec.secretName}")
			kubectl(t, "", "create", "secret", "generic", secret, "-n", namespace)
			defer kubectl(t, "", "delete", "secret", secret, "-n", namespace)
			helm(t, version, "upgrade", "tagpin", deploy+"/chart", "--set=certificates.mode=self-managed")
			helm(t, version, "upgrade", "tagpin", deploy+"/chart", "--set=certificates.mode=cert-manager")
		})
	}
}

// TestKeepOnly sets keepOnly, which puts all namespaces into the mode keep before an uninstall. The
// server's rules stay.
func TestKeepOnly(t *testing.T) {
	for version := range helms {
		t.Run("helm "+version, func(t *testing.T) {
			helm(t, version, "install", "tagpin", deploy+"/chart")
			defer helm(t, version, "uninstall", "tagpin")
			serve(t)
			helm(t, version, "upgrade", "tagpin", deploy+"/chart", "--reset-then-reuse-values", "--set", "keepOnly=true")
			for _, w := range webhooks(t) {
				if len(w.Rules) != 1 {
					t.Errorf("%s has lost its rules", w.Name)
				}
				modes := w.NamespaceSelector.MatchExpressions[0]
				keep := strings.HasPrefix(w.Name, "keep.")
				if got := slices.Contains(modes.Values, "enforce") && len(modes.Values) == 3; got != keep {
					t.Errorf("namespaceSelector of %s = %v, want all modes only for keep", w.Name, w.NamespaceSelector)
				}
			}
		})
	}
}

func webhooks(t *testing.T) []admissionregistrationv1.MutatingWebhook {
	t.Helper()
	api := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	r, err := api.Get(t.Context(), registration, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Webhooks
}

// serve writes what a server with a certificate of its own writes, as another field manager than
// the installers.
func serve(t *testing.T) {
	t.Helper()
	options := writeRules(t)
	data := []byte(`{"data":{"tls.crt":"Y2VydGlmaWNhdGU="}}`)
	_, err := env.Client.CoreV1().Secrets(namespace).Patch(
		t.Context(), "tagpin-webhook-tls", types.MergePatchType, data, options)
	if err != nil {
		t.Fatal(err)
	}
}

// writeRules writes what a server writes into the registration, and returns its field manager.
func writeRules(t *testing.T) metav1.PatchOptions {
	t.Helper()
	patch := admissionregistrationv1.MutatingWebhookConfiguration{Webhooks: webhooks(t)}
	scope := admissionregistrationv1.NamespacedScope
	for i := range patch.Webhooks {
		w := &patch.Webhooks[i]
		w.ClientConfig.CABundle = []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
		w.MatchConditions = []admissionregistrationv1.MatchCondition{{Name: "never", Expression: "false"}}
		w.Rules = []admissionregistrationv1.RuleWithOperations{{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
			Rule: admissionregistrationv1.Rule{
				APIGroups: []string{""}, APIVersions: []string{"v1"},
				Resources: []string{"pods"}, Scope: &scope,
			},
		}}
	}
	text, err := json.Marshal(map[string]any{"webhooks": patch.Webhooks})
	if err != nil {
		t.Fatal(err)
	}
	options := metav1.PatchOptions{FieldManager: "tagpin-webhook"}
	api := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err = api.Patch(t.Context(), registration, types.MergePatchType, text, options)
	if err != nil {
		t.Fatal(err)
	}
	return options
}

// watchDeletions starts watches, and returns a function that returns the revisions at which the
// registration and the Service were first deleted.
func watchDeletions(t *testing.T) func() (registered, service uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	options := metav1.ListOptions{LabelSelector: selector}
	api := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	registrations, err := api.Watch(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	services, err := env.Client.CoreV1().Services(namespace).Watch(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	return func() (uint64, uint64) { return deleted(t, registrations), deleted(t, services) }
}

// deleted waits for the first deletion and returns its revision. Revisions are ordered across all
// resources.
func deleted(t *testing.T, w watch.Interface) uint64 {
	t.Helper()
	defer w.Stop()
	for event := range w.ResultChan() {
		if event.Type != watch.Deleted {
			continue
		}
		o, err := meta.Accessor(event.Object)
		if err != nil {
			t.Fatal(err)
		}
		revision, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return revision
	}
	t.Fatal("nothing was deleted")
	return 0
}
