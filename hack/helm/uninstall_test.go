// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	chart3 "helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	engine3 "helm.sh/helm/v3/pkg/engine"
	release3 "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	release "helm.sh/helm/v4/pkg/release/v1"
	sorter "helm.sh/helm/v4/pkg/release/v1/util"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"sigs.k8s.io/yaml"
)

// annotated are values that give the registration an annotation.
const annotated = `{webhookAnnotations: {admissions.enforcer/disabled: "true"}}`

const webhookKind = "MutatingWebhookConfiguration"

// cluster is a fake cluster in which the function "lookup" of a template finds kube-system.
type cluster struct{}

// GetClientFor implements the interface engine.ClientProvider of Helm 3 and Helm 4.
func (cluster) GetClientFor(
	string, string,
) (dynamic.NamespaceableResourceInterface, bool, error) {
	namespaces := schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	system := &unstructured.Unstructured{Object: object{
		"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": metav1.NamespaceSystem},
	}}
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{namespaces: "NamespaceList"}, system)
	return client.Resource(namespaces), false, nil
}

// sorted3 returns the hooks of the chart as Helm 3 installs it, and its other objects in the order
// of their deletion.
func sorted3(t *testing.T, text string) ([]*release3.Hook, []releaseutil.Manifest) {
	t.Helper()
	c, err := chart3.LoadDir(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	options := chartutil.ReleaseOptions{Name: "tagpin", Namespace: namespace}
	v, err := chartutil.ToRenderValues(c, withImage(values(t, text)), options, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine3.RenderWithClientProvider(c, v, cluster{})
	if err != nil {
		t.Fatal(err)
	}
	order := releaseutil.UninstallOrder
	hooks, manifests, err := releaseutil.SortManifests(manifests(files), nil, order)
	if err != nil {
		t.Fatal(err)
	}
	return hooks, manifests
}

// sorted4 does the same as sorted3, with Helm 4.
func sorted4(t *testing.T, text string) ([]*release.Hook, []sorter.Manifest) {
	t.Helper()
	c, err := loader.LoadDir(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	options := common.ReleaseOptions{Name: "tagpin", Namespace: namespace}
	v, err := util.ToRenderValues(c, withImage(values(t, text)), options, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.RenderWithClientProvider(c, v, cluster{})
	if err != nil {
		t.Fatal(err)
	}
	hooks, manifests, err := sorter.SortManifests(manifests(files), nil, sorter.UninstallOrder)
	if err != nil {
		t.Fatal(err)
	}
	return hooks, manifests
}

// TestUninstallOrder3 checks the order in which Helm 3 deletes the objects: first those of the
// pre-delete hooks, and then the others, with the registration last because Helm 3 does not sort
// its kind.
func TestUninstallOrder3(t *testing.T) {
	hooks, manifests := sorted3(t, annotated)
	hooks = slices.DeleteFunc(hooks, func(h *release3.Hook) bool {
		return slices.Contains(h.Events, release3.HookTest)
	})
	if len(hooks) != 1 || hooks[0].Kind != webhookKind || hooks[0].Name != "zz-tagpin" {
		t.Fatalf("hooks = %v, want only the registration", hooks)
	}
	want := &release3.Hook{
		Events: []release3.HookEvent{release3.HookPreDelete},
		DeletePolicies: []release3.HookDeletePolicy{
			release3.HookBeforeHookCreation, release3.HookSucceeded,
		},
	}
	got := &release3.Hook{Events: hooks[0].Events, DeletePolicies: hooks[0].DeletePolicies}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hook (-want +got):\n%s", diff)
	}
	last := manifests[len(manifests)-1]
	if last.Head.Kind != webhookKind {
		t.Errorf("Helm 3 deletes %s last and not the registration: the hook is not needed any more",
			last.Head.Kind)
	}
	compareHook(t, hooks[0].Manifest, last.Content)
}

// TestUninstallOrder4 checks the same with Helm 4, which deletes the registration first.
func TestUninstallOrder4(t *testing.T) {
	hooks, manifests := sorted4(t, annotated)
	hooks = slices.DeleteFunc(hooks, func(h *release.Hook) bool {
		return slices.Contains(h.Events, release.HookTest)
	})
	if len(hooks) != 1 || hooks[0].Kind != webhookKind ||
		!slices.Equal(hooks[0].Events, []release.HookEvent{release.HookPreDelete}) {
		t.Fatalf("hooks = %v, want only the registration, before deletion", hooks)
	}
	if first := manifests[0]; first.Head.Kind != webhookKind {
		t.Errorf("Helm 4 deletes %s first, want the registration", first.Head.Kind)
	}
	compareHook(t, hooks[0].Manifest, manifests[0].Content)
}

// compareHook checks that a hook is the same as the object in the manifest, apart from the
// annotations of hooks.
func compareHook(t *testing.T, hook, manifest string) {
	t.Helper()
	var got, want object
	for text, into := range map[string]*object{hook: &got, manifest: &want} {
		if err := yaml.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
		annotations := at(*into, "metadata", "annotations").(object)
		delete(annotations, "helm.sh/hook")
		delete(annotations, "helm.sh/hook-delete-policy")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hook (-manifest +hook):\n%s", diff)
	}
}
