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

// installer is a way to install and update, and to remove.
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
	for name, flag := range map[string]string{"kubectl": "--server-side=false", "kubectl, by the server": "--server-side"} {
		template := func(t *testing.T, set ...string) string {
			return helm(t, "4", append([]string{"template", "tagpin", deploy + "/chart"}, set...)...)
		}
		all[name] = installer{
			apply: func(t *testing.T, set ...string) { kubectl(t, template(t, set...), "apply", flag, "-f", "-") },
			remove: func(t *testing.T) {
				kubectl(t, "", "delete", "mutatingwebhookconfiguration", registration)
				kubectl(t, template(t), "delete", "--ignore-not-found", "-f", "-")
			},
		}
	}
	return all
}

// TestUpdatesLeaveTheServersFields: what a server writes into the registration and the secret stays as it is, whoever updates the
// rest, and however. What is removed leaves nothing, and the registration goes first.
func TestUpdatesLeaveTheServersFields(t *testing.T) {
	for name, by := range installers() {
		t.Run(name, func(t *testing.T) {
			by.apply(t)
			for _, w := range webhooks(t) {
				if len(w.Rules) > 0 || len(w.MatchConditions) > 0 || len(w.ClientConfig.CABundle) > 0 {
					t.Errorf("%s is called before there is a server", w.Name)
				}
			}
			serve(t)
			want := webhooks(t)
			by.apply(t, "--set=replicas=3,timeoutSeconds=7")
			got := webhooks(t)
			for i := range want {
				if got[i].TimeoutSeconds == nil || *got[i].TimeoutSeconds != 7 {
					t.Errorf("the timeout of %s is not updated", got[i].Name)
				}
				want[i].TimeoutSeconds = got[i].TimeoutSeconds
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("an update changes what the server wrote, -want +got:\n%s", diff)
			}
			secret, err := env.Client.CoreV1().Secrets(namespace).Get(t.Context(), "tagpin-webhook-tls", metav1.GetOptions{})
			if err != nil || string(secret.Data["tls.crt"]) != "certificate" {
				t.Errorf("the secret holds %v, %v, want the server's certificate", secret.Data, err)
			}
			gone := deletions(t)
			by.remove(t)
			if rest := left(t); rest != "" {
				t.Errorf("what stays:\n%s", rest)
			}
			if registered, service := gone(); registered == 0 || registered > service {
				t.Errorf("the registration goes at %d, the Service at %d, want it first", registered, service)
			}
		})
	}
}

// TestUninstallAfterTheSwitch: what an emergency takes, an uninstall does not miss.
func TestUninstallAfterTheSwitch(t *testing.T) {
	for version := range helms {
		t.Run("helm "+version, func(t *testing.T) {
			helm(t, version, "install", "tagpin", deploy+"/chart")
			kubectl(t, "", "delete", "mutatingwebhookconfiguration", registration)
			helm(t, version, "uninstall", "tagpin")
			if rest := left(t); rest != "" {
				t.Errorf("what stays:\n%s", rest)
			}
		})
	}
}

// TestModesOfCertificates changes the mode while the other mode's secret is there, as cert-manager leaves it, and back.
func TestModesOfCertificates(t *testing.T) {
	for version := range helms {
		t.Run("helm "+version, func(t *testing.T) {
			helm(t, version, "install", "tagpin", deploy+"/chart", "--set=certificates.mode=cert-manager")
			defer helm(t, version, "uninstall", "tagpin")
			out, _ := kubectl(t, "", "get", "certificate", "tagpin-webhook", "-n", namespace, "-o", "jsonpath={.spec.secretName}")
			kubectl(t, "", "create", "secret", "generic", out, "-n", namespace)
			defer kubectl(t, "", "delete", "secret", out, "-n", namespace)
			helm(t, version, "upgrade", "tagpin", deploy+"/chart", "--set=certificates.mode=self-managed")
			helm(t, version, "upgrade", "tagpin", deploy+"/chart", "--set=certificates.mode=cert-manager")
		})
	}
}

// TestKeepOnly: the step before an uninstall makes all namespaces those of the mode keep, and the server's rules stay.
func TestKeepOnly(t *testing.T) {
	for version := range helms {
		t.Run("helm "+version, func(t *testing.T) {
			helm(t, version, "install", "tagpin", deploy+"/chart")
			defer helm(t, version, "uninstall", "tagpin")
			serve(t)
			helm(t, version, "upgrade", "tagpin", deploy+"/chart", "--reuse-values", "--set", "keepOnly=true")
			for _, w := range webhooks(t) {
				if len(w.Rules) != 1 {
					t.Errorf("%s has no rules any more", w.Name)
				}
				modes := w.NamespaceSelector.MatchExpressions[0]
				keep := strings.HasPrefix(w.Name, "keep.")
				if got := slices.Contains(modes.Values, "enforce") && len(modes.Values) == 3; got != keep {
					t.Errorf("%s is for %v", w.Name, w.NamespaceSelector)
				}
			}
		})
	}
}

func webhooks(t *testing.T) []admissionregistrationv1.MutatingWebhook {
	t.Helper()
	r, err := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(t.Context(), registration, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Webhooks
}

// serve writes what a server writes, as another manager of the fields than those who install.
func serve(t *testing.T) {
	t.Helper()
	patch := admissionregistrationv1.MutatingWebhookConfiguration{Webhooks: webhooks(t)}
	scope := admissionregistrationv1.NamespacedScope
	for i := range patch.Webhooks {
		w := &patch.Webhooks[i]
		w.ClientConfig.CABundle = []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
		w.MatchConditions = []admissionregistrationv1.MatchCondition{{Name: "never", Expression: "false"}}
		w.Rules = []admissionregistrationv1.RuleWithOperations{{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}, Scope: &scope},
		}}
	}
	text, err := json.Marshal(map[string]any{"webhooks": patch.Webhooks})
	if err != nil {
		t.Fatal(err)
	}
	options := metav1.PatchOptions{FieldManager: "tagpin-webhook"}
	api := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if _, err := api.Patch(t.Context(), registration, types.MergePatchType, text, options); err != nil {
		t.Fatal(err)
	}
	data := []byte(`{"data":{"tls.crt":"Y2VydGlmaWNhdGU="}}`)
	if _, err := env.Client.CoreV1().Secrets(namespace).Patch(t.Context(), "tagpin-webhook-tls", types.MergePatchType, data, options); err != nil {
		t.Fatal(err)
	}
}

// deletions begins to watch, and returns what tells the revisions at which the registration, for the first time, and the
// Service were deleted.
func deletions(t *testing.T) func() (registered, service uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	options := metav1.ListOptions{LabelSelector: selector}
	registrations, err := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Watch(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	services, err := env.Client.CoreV1().Services(namespace).Watch(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	return func() (uint64, uint64) { return deleted(t, registrations), deleted(t, services) }
}

// deleted waits for the first deletion, and returns its revision, which is one of the whole cluster's.
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
