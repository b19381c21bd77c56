// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	release3 "helm.sh/helm/v3/pkg/release"
	release "helm.sh/helm/v4/pkg/release/v1"
	"sigs.k8s.io/yaml"
)

// TestHookOfHelmTest checks the objects that helm test creates, with Helm 3 and Helm 4. All are
// deleted after a test that succeeds.
func TestHookOfHelmTest(t *testing.T) {
	roles := []string{"ClusterRole", "ClusterRoleBinding", "Pod", "Role", "RoleBinding", "ServiceAccount"}
	for _, tt := range []struct {
		values, account string
		kinds           []string
	}{
		{"{}", "tagpin-test", roles},
		{"{registration: manual, certificates: {mode: cert-manager}}", "tagpin-test", roles},
		{"{rbac: {create: false}}", "tagpin-webhook", []string{"Pod"}},
		{"{serviceAccount: {create: false, name: pins}}", "pins", []string{"Pod"}},
		{"{apiServer: {cidrs: [192.0.2.0/24]}}", "tagpin-test", append([]string{"NetworkPolicy"}, roles...)},
		{"{apiServer: {cidrs: [192.0.2.0/24]}, networkPolicy: {enabled: false}}", "tagpin-test", roles},
	} {
		var four, three []object
		hooks4, _ := sorted4(t, tt.values)
		for _, h := range hooks4 {
			if slices.Contains(h.Events, release.HookTest) {
				four = append(four, hookObject(t, h.Manifest))
			}
		}
		hooks3, _ := sorted3(t, tt.values)
		for _, h := range hooks3 {
			if slices.Contains(h.Events, release3.HookTest) {
				three = append(three, hookObject(t, h.Manifest))
				if !slices.Contains(h.DeletePolicies, release3.HookSucceeded) {
					t.Errorf("%s: %s stays after the test", tt.values, h.Kind)
				}
			}
		}
		if len(three) != len(four) {
			t.Errorf("%s: %d hooks with Helm 3, and %d with Helm 4", tt.values, len(three), len(four))
		}
		checkTestObjects(t, tt.values, four, tt.kinds, tt.account)
	}
}

func hookObject(t *testing.T, text string) object {
	t.Helper()
	var o object
	if err := yaml.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// checkTestObjects checks the objects of the test: their kinds, the service account of the pod, and
// that no selector of the webhook selects the pod.
func checkTestObjects(t *testing.T, values string, all []object, kinds []string, account string) {
	t.Helper()
	var got []string
	for _, o := range all {
		kind := o["kind"].(string)
		got = append(got, kind)
		if name := at(o, "metadata", "name"); name != "tagpin-test" {
			t.Errorf("%s: %s is named %s, want tagpin-test", values, kind, name)
		}
		if label := at(o, "metadata", "labels", "app.kubernetes.io/component"); label != "test" {
			t.Errorf("%s: %s is of the component %s, which selects the webhook", values, kind, label)
		}
		if kind != "Pod" {
			continue
		}
		if at(o, "spec", "serviceAccountName") != account ||
			at(o, "spec", "securityContext", "runAsNonRoot") != true ||
			at(o, "spec", "containers", 0, "securityContext", "readOnlyRootFilesystem") != true ||
			at(o, "spec", "containers", 0, "resources", "limits", "memory") == nil {
			t.Errorf("%s: the pod is %v, want the account %s and the limits of tagpin's pods",
				values, o["spec"], account)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(slices.Sorted(slices.Values(kinds)), got); diff != "" {
		t.Errorf("%s: kinds of the test (-want +got):\n%s", values, diff)
	}
}

// TestImageOfHelmTest checks which image the test has pinned, and with which pull secrets.
func TestImageOfHelmTest(t *testing.T) {
	for values, want := range map[string]string{
		"{image: {digest: \"" + imageDigest + "\"}}":          "",
		"{image: {tag: v1}}":                                  "--image=ghcr.io/tagpin/tagpin-webhook:v1",
		"{image: {tag: v1, digest: \"" + imageDigest + "\"}}": "--image=ghcr.io/tagpin/tagpin-webhook:v1",
		"{image: {tag: v1, pullPolicy: Never}}":               "",
		"{testImage: r.example/a:1, imagePullSecrets: [{name: a}], global: {imagePullSecrets: [b]}}": "--image=r.example/a:1 --pull-secret=b --pull-secret=a",
		"{testImage: r.example/a:1, global: {imageRegistry: other.example}}":                         "--image=r.example/a:1",
		"{image: {tag: v1}, global: {imageRegistry: other.example}}":                                 "--image=other.example/tagpin/tagpin-webhook:v1",
	} {
		hooks, _ := sorted4(t, values)
		i := slices.IndexFunc(hooks, func(h *release.Hook) bool {
			return h.Kind == "Pod" && slices.Contains(h.Events, release.HookTest)
		})
		var got []string
		for _, arg := range at(hookObject(t, hooks[i].Manifest), "spec", "containers", 0, "args").([]any) {
			got = append(got, arg.(string))
		}
		if all := "verify --wait=90s " + want; strings.Join(got, " ") != strings.TrimSpace(all) {
			t.Errorf("%s: helm test runs %q, want %q", values, got, all)
		}
	}
}

// TestNoHookWithoutACluster checks that programs that only render the chart get no test.
func TestNoHookWithoutACluster(t *testing.T) {
	files, err := render(nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, ok := files["verify.yaml"]; ok {
		t.Errorf("the chart has a test without a cluster:\n%s", text)
	}
}
