// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/dynamic"
	sigsyaml "sigs.k8s.io/yaml"
)

// reconciles is how often a tool reconciles in a test.
const reconciles = 10

// gitops is a tool that repeatedly makes a Deployment what a manifest says.
type gitops struct {
	t       *testing.T
	ns      string
	manager string
	api     dynamic.ResourceInterface
}

func newGitops(t *testing.T, manager string) *gitops {
	t.Helper()
	c, err := dynamic.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	ns := newNamespace(t, "enforce")
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	return &gitops{t, ns, manager, c.Resource(deployments).Namespace(ns)}
}

// manifest returns the Deployment with an image. If refresh is not empty, its template has that
// marker.
func (g *gitops) manifest(image, refresh string) *unstructured.Unstructured {
	g.t.Helper()
	var o map[string]any
	if err := sigsyaml.Unmarshal(fmt.Appendf(nil, deployment, image), &o); err != nil {
		g.t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: o}
	u.SetNamespace(g.ns)
	if refresh != "" {
		err := unstructured.SetNestedField(o, refresh,
			"spec", "template", "metadata", "annotations", "tagpin.dev/refresh")
		if err != nil {
			g.t.Fatal(err)
		}
	}
	return u
}

// apply makes a forced server-side apply, as the tools do.
func (g *gitops) apply(o *unstructured.Unstructured, dryRun ...string) *unstructured.Unstructured {
	g.t.Helper()
	data, err := json.Marshal(o)
	if err != nil {
		g.t.Fatal(err)
	}
	force := true
	applied, err := g.api.Patch(g.t.Context(), o.GetName(), types.ApplyPatchType, data,
		metav1.PatchOptions{FieldManager: g.manager, Force: &force, DryRun: dryRun})
	if err != nil {
		g.t.Fatal(err)
	}
	return applied
}

func (g *gitops) live() *unstructured.Unstructured {
	g.t.Helper()
	o, err := g.api.Get(g.t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		g.t.Fatal(err)
	}
	return o
}

// drift returns the difference between the live object and the result of a dry run. As Flux's
// kustomize-controller and Argo CD's server-side diff, it compares labels, annotations and the
// spec.
func drift(live, would *unstructured.Unstructured) string {
	compared := func(o *unstructured.Unstructured) map[string]any {
		return map[string]any{
			"labels": o.GetLabels(), "annotations": o.GetAnnotations(), "spec": o.Object["spec"],
		}
	}
	return cmp.Diff(compared(live), compared(would))
}

// reconcile does what Flux does: a dry run, a comparison, and an apply only if something differs.
func (g *gitops) reconcile(o *unstructured.Unstructured) (drifted string) {
	g.t.Helper()
	if drifted = drift(g.live(), g.apply(o, metav1.DryRunAll)); drifted != "" {
		g.apply(o)
	}
	return drifted
}

// TestFlux reconciles by server-side apply while the tag moves. There is no drift and no rollout
// until the manifest asks for a refresh, which causes one rollout.
func TestFlux(t *testing.T) {
	g := newGitops(t, "kustomize-controller")
	tag := repository(t) + ":1"
	reference, first := push(t, env.Open, tag)
	g.apply(g.manifest(reference, ""))
	generation := g.live().GetGeneration()
	asked := env.Open.Lookups(repository(t))
	var second string
	for i := range reconciles {
		_, second = push(t, env.Open, tag)
		if d := g.reconcile(g.manifest(reference, "")); d != "" {
			t.Fatalf("drift in reconcile %d, -live +dry run:\n%s", i, d)
		}
		g.apply(g.manifest(reference, "")) // as for a new revision with the same content
	}
	g.want("reconciled", reference, first, generation)
	// Each push causes one request too.
	if got := env.Open.Lookups(repository(t)) - asked - reconciles; got > 0 {
		t.Errorf("%d lookups, want none", got)
	}
	if d := g.reconcile(g.manifest(reference, "commit-1")); d == "" {
		t.Error("a refresh causes no drift")
	}
	g.want("refreshed", reference, second, generation+1)
	for i := range reconciles {
		push(t, env.Open, tag)
		if d := g.reconcile(g.manifest(reference, "commit-1")); d != "" {
			t.Fatalf("drift in reconcile %d after the refresh, -live +dry run:\n%s", i, d)
		}
		g.apply(g.manifest(reference, "commit-1"))
	}
	g.want("reconciled after the refresh", reference, second, generation+1)
}

func (g *gitops) want(when, reference, digest string, generation int64) {
	g.t.Helper()
	o := g.live()
	containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	if err != nil {
		g.t.Fatal(err)
	}
	wantImage(g.t, when, containers[0].(map[string]any)["image"].(string), reference, digest)
	if got := o.GetGeneration(); got != generation {
		g.t.Errorf("%s: generation %d, want %d", when, got, generation)
	}
}

// TestTwoAppliers has another manager that applies other fields, and Argo CD's server-side diff,
// which includes the changes of webhooks. Neither sees a drift.
func TestTwoAppliers(t *testing.T) {
	argo := newGitops(t, "argocd-controller")
	tag := repository(t) + ":1"
	reference, first := push(t, env.Open, tag)
	argo.apply(argo.manifest(reference, ""))
	scaler := *argo
	scaler.manager = "scaler"
	replicas := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web"},
		"spec": map[string]any{"replicas": int64(3)},
	}}
	scaler.apply(replicas)
	generation := argo.live().GetGeneration()
	for i := range reconciles {
		push(t, env.Open, tag)
		if d := drift(argo.live(), argo.apply(argo.manifest(reference, ""), metav1.DryRunAll)); d != "" {
			t.Fatalf("drift in sync %d, -live +dry run:\n%s", i, d)
		}
		argo.apply(argo.manifest(reference, ""))
		if d := scaler.reconcile(replicas); d != "" {
			t.Fatalf("drift of the other manager, -live +dry run:\n%s", d)
		}
	}
	argo.want("synced", reference, first, generation)
}

// TestThreeWayDiff has Argo CD's default, a three-way diff on the client. It shows a difference
// only in the image, and not in the annotations. deploy/docs/gitops.md says which settings avoid
// it. A sync changes nothing.
func TestThreeWayDiff(t *testing.T) {
	ns := newNamespace(t, "enforce")
	tag := repository(t) + ":1"
	reference, digest := push(t, env.Open, tag)
	manifest := fmt.Sprintf(deployment, reference)
	apply(t, ns, manifest)
	for range reconciles {
		push(t, env.Open, tag)
		live := []byte(kubectl(t, "", "-n", ns, "get", "deployment", "web", "-o", "json"))
		var o metav1.PartialObjectMetadata
		if err := json.Unmarshal(live, &o); err != nil {
			t.Fatal(err)
		}
		want := `{"spec":{"template":{"spec":{"$setElementOrder/containers":[{"name":"app"}],` +
			`"containers":[{"image":"` + reference + `","name":"app"}]}}}}`
		last := o.Annotations["kubectl.kubernetes.io/last-applied-configuration"]
		if got := threeWay(t, []byte(last), manifest, live); got != want {
			t.Errorf("difference = %s, want only that of the image, %s", got, want)
		}
		apply(t, ns, manifest)
	}
	o := get(t, ns, "deployment/web")
	wantImage(t, "synced", o.image(), reference, digest)
	o.wantGeneration(t, 1)
	if out := diff(t, ns, manifest); out != "" {
		t.Errorf("kubectl diff, which asks the server, prints\n%s", out)
	}
}

// threeWay returns the patch that a client-side apply would send.
func threeWay(t *testing.T, last []byte, manifest string, live []byte) string {
	t.Helper()
	meta, err := strategicpatch.NewPatchMetaFromStruct(appsv1.Deployment{})
	if err != nil {
		t.Fatal(err)
	}
	var o map[string]any
	if err := json.Unmarshal(last, &o); err != nil {
		t.Fatal(err)
	}
	modified, err := json.Marshal(o) // the manifest was not changed
	if err != nil {
		t.Fatal(err)
	}
	var written map[string]any
	if err := sigsyaml.Unmarshal([]byte(manifest), &written); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(written["spec"], o["spec"]); d != "" {
		t.Fatalf("last applied configuration, -manifest +annotation:\n%s", d)
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(last, modified, live, meta, true)
	if err != nil {
		t.Fatal(err)
	}
	return string(patch)
}

// diff returns the output of kubectl diff.
func diff(t *testing.T, ns, manifest string) string {
	t.Helper()
	out, _, err := env.RunKubectl(t.Context(), strings.NewReader(manifest), "-n", ns, "diff", "-f", "-")
	if err != nil && out == "" {
		t.Fatal(err)
	}
	return out
}
