// SPDX-License-Identifier: Apache-2.0

package main

import (
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

// annotated are values by which the registration has an annotation.
const annotated = `{webhookAnnotations: {admissions.enforcer/disabled: "true"}}`

const webhookKind = "MutatingWebhookConfiguration"

// inCluster is a cluster that templates may ask, as a release's are.
type inCluster struct{}

func (inCluster) GetClientFor(string, string) (dynamic.NamespaceableResourceInterface, bool, error) {
	namespaces := schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	system := &unstructured.Unstructured{Object: object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": metav1.NamespaceSystem}}}
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{namespaces: "NamespaceList"}, system)
	return client.Resource(namespaces), false, nil
}

// TestUninstallOrder3 walks what Helm 3 does to uninstall: pre-delete hooks, whose objects it deletes before it creates them, and
// the manifests in its order, in which the registration is unknown and last.
func TestUninstallOrder3(t *testing.T) {
	c, err := chart3.LoadDir(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := chartutil.ToRenderValues(c, values(t, annotated), chartutil.ReleaseOptions{Name: "tagpin", Namespace: namespace}, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine3.RenderWithClientProvider(c, v, inCluster{})
	if err != nil {
		t.Fatal(err)
	}
	hooks, manifests, err := releaseutil.SortManifests(manifests(files), nil, releaseutil.UninstallOrder)
	if err != nil {
		t.Fatal(err)
	}
	if len(hooks) != 1 || hooks[0].Kind != webhookKind || hooks[0].Name != "zz-tagpin" {
		t.Fatalf("hooks %v, want the registration alone", hooks)
	}
	want := &release3.Hook{
		Events:         []release3.HookEvent{release3.HookPreDelete},
		DeletePolicies: []release3.HookDeletePolicy{release3.HookBeforeHookCreation, release3.HookSucceeded},
	}
	got := &release3.Hook{Events: hooks[0].Events, DeletePolicies: hooks[0].DeletePolicies}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the hook, -want +got:\n%s", diff)
	}
	if last := manifests[len(manifests)-1]; last.Head.Kind != webhookKind {
		t.Errorf("Helm 3 deletes %s last, not the registration: the hook may go", last.Head.Kind)
	}
	sameButHook(t, hooks[0].Manifest, manifests[len(manifests)-1].Content)
}

// TestUninstallOrder4 does so with Helm 4, which knows the registration's kind.
func TestUninstallOrder4(t *testing.T) {
	c, err := loader.LoadDir(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := util.ToRenderValues(c, values(t, annotated), common.ReleaseOptions{Name: "tagpin", Namespace: namespace}, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.RenderWithClientProvider(c, v, inCluster{})
	if err != nil {
		t.Fatal(err)
	}
	hooks, manifests, err := sorter.SortManifests(manifests(files), nil, sorter.UninstallOrder)
	if err != nil {
		t.Fatal(err)
	}
	if len(hooks) != 1 || hooks[0].Kind != webhookKind || len(hooks[0].Events) != 1 || hooks[0].Events[0] != release.HookPreDelete {
		t.Errorf("hooks %v, want the registration before deletion alone", hooks)
	}
	if first := manifests[0]; first.Head.Kind != webhookKind {
		t.Errorf("Helm 4 deletes %s first, want the registration", first.Head.Kind)
	}
	sameButHook(t, hooks[0].Manifest, manifests[0].Content)
}

// sameButHook: a hook that is not the object itself would take something away from it.
func sameButHook(t *testing.T, hook, manifest string) {
	t.Helper()
	var a, b object
	for text, into := range map[string]*object{hook: &a, manifest: &b} {
		if err := yaml.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
		annotations := at(*into, "metadata", "annotations").(object)
		delete(annotations, "helm.sh/hook")
		delete(annotations, "helm.sh/hook-delete-policy")
	}
	if diff := cmp.Diff(b, a); diff != "" {
		t.Errorf("the hook is not the registration, -want +got:\n%s", diff)
	}
}
