// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
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

// reconciles are as many as show that something settles.
const reconciles = 10

// gitops is a tool that brings a Deployment to what a manifest says, again and again.
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
	api := c.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace(ns)
	return &gitops{t, ns, manager, api}
}

// manifest is the Deployment with an image, and a marker in its template where it is not empty.
func (g *gitops) manifest(image, refresh string) *unstructured.Unstructured {
	g.t.Helper()
	var o map[string]any
	if err := sigsyaml.Unmarshal(fmt.Appendf(nil, deployment, image), &o); err != nil {
		g.t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: o}
	u.SetNamespace(g.ns)
	if refresh != "" {
		if err := unstructured.SetNestedField(o, refresh, "spec", "template", "metadata", "annotations", "tagpin.dev/refresh"); err != nil {
			g.t.Fatal(err)
		}
	}
	return u
}

// apply applies server-side, as the tools do: with force, and first as a dry run.
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

// drift is the difference between what is there and what would be: labels, annotations, and all that is not metadata or
// status, as Flux's kustomize-controller and Argo CD's server-side diff compare them.
func drift(live, would *unstructured.Unstructured) string {
	compared := func(o *unstructured.Unstructured) map[string]any {
		return map[string]any{"labels": o.GetLabels(), "annotations": o.GetAnnotations(), "spec": o.Object["spec"]}
	}
	return cmp.Diff(compared(live), compared(would))
}

// reconcile is what Flux does: a dry run, a comparison, and an apply only if something differs.
func (g *gitops) reconcile(o *unstructured.Unstructured) (drifted string) {
	g.t.Helper()
	if drifted = drift(g.live(), g.apply(o, metav1.DryRunAll)); drifted != "" {
		g.apply(o)
	}
	return drifted
}

// TestFlux reconciles by server-side apply while the tag moves under it: no drift and no rollout, until the manifest asks for
// a refresh; then one rollout, and none after it.
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
			t.Fatalf("reconcile %d drifts: -live +dry run\n%s", i, d)
		}
		g.apply(g.manifest(reference, "")) // as with a new revision that says the same
	}
	g.want("reconciled", reference, first, generation)
	if got := env.Open.Lookups(repository(t)) - asked - reconciles; got > 0 { // each push asks once
		t.Errorf("%d look-ups, want none", got)
	}
	if d := g.reconcile(g.manifest(reference, "commit-1")); d == "" {
		t.Error("a refresh is no drift")
	}
	g.want("refreshed", reference, second, generation+1)
	for i := range reconciles {
		push(t, env.Open, tag)
		if d := g.reconcile(g.manifest(reference, "commit-1")); d != "" {
			t.Fatalf("reconcile %d after the refresh drifts: -live +dry run\n%s", i, d)
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

// TestTwoAppliers has another manager apply other fields, and Argo CD's server-side diff, which includes what webhooks do,
// look at the same object: no drift for either.
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
			t.Fatalf("sync %d differs: -live +dry run\n%s", i, d)
		}
		argo.apply(argo.manifest(reference, ""))
		if d := scaler.reconcile(replicas); d != "" {
			t.Fatalf("the other manager drifts: -live +dry run\n%s", d)
		}
	}
	argo.want("synced", reference, first, generation)
}

// TestThreeWayDiff has Argo CD's default: what the manifest would change of what is there, worked out by the client. It sees
// the pin as a difference, of the image alone, and not of the annotations: deploy/docs/gitops.md says what to set. To sync all
// the same changes nothing.
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
		want := `{"spec":{"template":{"spec":{"$setElementOrder/containers":[{"name":"app"}],"containers":[{"image":"` + reference + `","name":"app"}]}}}}`
		if got := threeWay(t, []byte(o.Annotations["kubectl.kubernetes.io/last-applied-configuration"]), manifest, live); got != want {
			t.Errorf("the difference is %s, want that of the image alone, %s", got, want)
		}
		apply(t, ns, manifest)
	}
	o := get(t, ns, "deployment/web")
	wantImage(t, "synced", o.image(), reference, digest)
	if o.Metadata.Generation != 1 {
		t.Errorf("generation = %d, want 1", o.Metadata.Generation)
	}
	if out := diff(t, ns, manifest); out != "" {
		t.Errorf("kubectl diff, which asks the server, tells\n%s", out)
	}
}

// threeWay is the patch that a client-side apply would send.
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
	modified, err := json.Marshal(o) // the same again
	if err != nil {
		t.Fatal(err)
	}
	var written map[string]any
	if err := sigsyaml.Unmarshal([]byte(manifest), &written); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(written["spec"], o["spec"]); d != "" {
		t.Fatalf("the last applied is not the manifest:\n%s", d)
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(last, modified, live, meta, true)
	if err != nil {
		t.Fatal(err)
	}
	return string(patch)
}

// diff is what kubectl diff tells.
func diff(t *testing.T, ns, manifest string) string {
	t.Helper()
	out, _, err := env.RunKubectl(t.Context(), strings.NewReader(manifest), "-n", ns, "diff", "-f", "-")
	if err != nil && out == "" {
		t.Fatal(err)
	}
	return out
}

// TestExemptedLater has an image that is exempted after it was pinned: its manifest, applied again, keeps the pin, as to take it
// away would roll out.
func TestExemptedLater(t *testing.T) {
	ns := newNamespace(t, "enforce")
	reference, digest := push(t, env.Open, repository(t)+":1")
	manifest := fmt.Sprintf(deployment, reference)
	apply(t, ns, manifest)
	exempt := func(config string) string {
		return config + "exemptImages: ['docker.io/library/auto:latest', '" + strings.TrimSuffix(reference, ":1") + "']\n"
	}
	if err := env.Reconfigure(t.Context(), exempt); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := env.Reconfigure(context.WithoutCancel(t.Context()), nil); err != nil {
			t.Error(err)
		}
	}()
	apply(t, ns, manifest)
	o := get(t, ns, "deployment/web")
	wantImage(t, "exempted", o.image(), reference, digest)
	if o.Metadata.Generation != 1 {
		t.Errorf("generation = %d, want 1", o.Metadata.Generation)
	}
	other := newNamespace(t, "enforce")
	apply(t, other, manifest)
	if got := get(t, other, "deployment/web").image(); got != reference {
		t.Errorf("exempt from the beginning: image = %s, want %s", got, reference)
	}
}

// TestNeverLater has a container that is set to Never after it was pinned: the pin stays.
func TestNeverLater(t *testing.T) {
	ns := newNamespace(t, "enforce")
	reference, digest := push(t, env.Open, repository(t)+":1")
	manifest := fmt.Sprintf(deployment, reference)
	apply(t, ns, manifest)
	apply(t, ns, manifest+"        imagePullPolicy: Never\n")
	wantImage(t, "set to Never", get(t, ns, "deployment/web").image(), reference, digest)
	never := newNamespace(t, "enforce")
	apply(t, never, manifest+"        imagePullPolicy: Never\n")
	if got := get(t, never, "deployment/web").image(); got != reference {
		t.Errorf("Never from the beginning: image = %s, want %s", got, reference)
	}
}

// TestKeptWithWarning has a template that changes while its tag has moved: kept, and a warning tells how to refresh; done so,
// it is the new one.
func TestKeptWithWarning(t *testing.T) {
	ns, tag := newNamespace(t, "enforce"), repository(t)+":main"
	reference, first := push(t, env.Open, tag)
	manifest := fmt.Sprintf(deployment, reference)
	apply(t, ns, manifest)
	_, second := push(t, env.Open, tag)
	changed := manifest + "        tty: true\n"
	warning := apply(t, ns, changed)
	wantImage(t, "with another change", get(t, ns, "deployment/web").image(), reference, first)
	for _, want := range []string{`container "app": ` + reference + " kept at " + first[:len("sha256:")+12], "kubectl rollout restart", "tagpin.dev/refresh"} {
		if !strings.Contains(warning, want) {
			t.Errorf("kubectl apply says %q, want %s", warning, want)
		}
	}
	kubectl(t, "", "-n", ns, "patch", "deployment", "web", "--type=merge", "-p",
		`{"spec":{"template":{"metadata":{"annotations":{"tagpin.dev/refresh":"commit"}}}}}`)
	wantImage(t, "refreshed", get(t, ns, "deployment/web").image(), reference, second)
	if warning := apply(t, ns, changed); warning != "" {
		t.Errorf("the same again warns: %s", warning)
	}
}
