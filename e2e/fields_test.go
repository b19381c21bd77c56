// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/poll"
)

// TestNothingElseChanges creates an object with many fields with tagpin and without. Only the image
// and the annotation differ. Few client libraries know the field emptyDir.mode yet.
func TestNothingElseChanges(t *testing.T) {
	reference, digest := push(t, env.Open, repository(t)+":1")
	manifest := strings.ReplaceAll(richDeployment, "IMAGE", reference)
	for feature, field := range map[cluster.Feature]string{
		cluster.PodResources: "resources: {requests: {cpu: 100m}}", cluster.EmptyDirMode: "mode: 0700",
	} {
		if !strings.Contains(manifest, field) {
			t.Fatalf("the manifest has no %s", field)
		}
		if !env.Has(feature) {
			manifest = strings.ReplaceAll(manifest, field, "")
		}
	}
	created := func(ns string) map[string]any {
		text := kubectl(t, manifest, "-n", ns, "create", "-f", "-", "-o", "json")
		var o map[string]any
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		for _, own := range []string{"namespace", "uid", "resourceVersion", "creationTimestamp", "managedFields"} {
			unstructured.RemoveNestedField(o, "metadata", own)
		}
		return o
	}
	want, got := created(newNamespace(t, "off")), created(newNamespace(t, "enforce"))
	pin := reference + "@" + digest
	err := unstructured.SetNestedField(want, `{"a":"`+pin+`"}`,
		"spec", "template", "metadata", "annotations", "tagpin.dev/pins")
	if err != nil {
		t.Fatal(err)
	}
	setImage(t, want, pin)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Deployment, -without tagpin +with tagpin:\n%s", diff)
	}
	if !env.Has(cluster.EmptyDirMode) {
		return
	}
	volumes, ok, _ := unstructured.NestedSlice(want, "spec", "template", "spec", "volumes")
	if !ok || volumes[1].(map[string]any)["emptyDir"].(map[string]any)["mode"] == nil {
		t.Errorf("volumes = %v, want emptyDir.mode: does the API server know it?", volumes)
	}
}

const richDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: rich
  annotations: {a/b.c: "quoted \"text\" and ünicode"}
spec:
  selector: {matchLabels: {app: rich}}
  strategy: {rollingUpdate: {maxSurge: 30%}}
  template:
    metadata: {labels: {app: rich}, annotations: {note: "line\nline"}}
    spec:
      hostUsers: false
      shareProcessNamespace: true
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: rich}}, matchLabelKeys: [pod-template-hash]}
      resources: {requests: {cpu: 100m}}
      containers:
      - name: a
        image: IMAGE
        resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}]
        lifecycle: {preStop: {sleep: {seconds: 3}}}
        securityContext: {appArmorProfile: {type: RuntimeDefault}}
        env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
      volumes:
      - {name: p, projected: {sources: [{downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}}]}}
      - {name: e, emptyDir: {mode: 0700}}
`

// setImage sets the image of the first container of an object's template.
func setImage(t *testing.T, o map[string]any, image string) {
	t.Helper()
	path := []string{"spec", "template", "spec", "containers"}
	containers, _, err := unstructured.NestedSlice(o, path...)
	if err != nil {
		t.Fatal(err)
	}
	containers[0].(map[string]any)["image"] = image
	if err := unstructured.SetNestedSlice(o, containers, path...); err != nil {
		t.Fatal(err)
	}
}

// rolloutCRD is a kind with a pod template that is not built in. It prunes the template's metadata,
// as some CRDs do.
const rolloutCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rollouts.argoproj.io}
spec:
  group: argoproj.io
  names: {kind: Rollout, plural: rollouts}
  scope: Namespaced
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            x-kubernetes-preserve-unknown-fields: true
            properties:
              template:
                type: object
                nullable: true
                x-kubernetes-preserve-unknown-fields: true
                properties:
                  metadata: {type: object}
`

// installRollouts installs the kind, and returns when it is served.
func installRollouts(t *testing.T) {
	t.Helper()
	kubectl(t, rolloutCRD, "apply", "-f", "-")
	kubectl(t, "", "wait", "--for=condition=Established", "crd/rollouts.argoproj.io", "--timeout="+poll.Deadline.String())
}

// rollout returns a Rollout with a spec, if it is not nil.
func rollout(spec map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "r"}}}
	if spec != nil {
		o.Object["spec"] = spec
	}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: "Rollout"})
	return o
}

// TestUnknownFields pins a custom resource with fields that no type of k8s.io/api has. They stay.
// The annotation is in the object's own metadata, because the template's metadata is pruned.
func TestUnknownFields(t *testing.T) {
	installRollouts(t)
	c, _ := newClient(t)
	ns, tag := newNamespace(t, "enforce"), repository(t)+":1"
	reference, digest := push(t, env.Open, tag)
	fresh := func() *unstructured.Unstructured {
		return rollout(map[string]any{
			"novelty": map[string]any{"number": int64(9007199254740993), "text": "<&>"},
			"template": map[string]any{"metadata": map[string]any{}, "spec": map[string]any{
				"futureField": []any{nil, true},
				"containers": []any{map[string]any{
					"name": "a", "image": reference, "inTheYear2525": "if man is still alive",
				}},
			}},
		})
	}
	o, want := fresh(), fresh()
	err := unstructured.SetNestedField(o.Object, map[string]any{"note": "pruned"},
		"spec", "template", "metadata", "annotations")
	if err != nil {
		t.Fatal(err)
	}
	create(t, c, ns, o)
	setImage(t, want.Object, reference+"@"+digest)
	if diff := cmp.Diff(want.Object["spec"], o.Object["spec"]); diff != "" {
		t.Errorf("spec, -want +got:\n%s", diff)
	}
	if got, want := o.GetAnnotations()["tagpin.dev/pins"], `{"a":"`+reference+"@"+digest+`"}`; got != want {
		t.Errorf("tagpin.dev/pins = %s, want %s", got, want)
	}
	push(t, env.Open, tag)
	again := fresh()
	again.SetNamespace(ns)
	again.SetResourceVersion(o.GetResourceVersion())
	if err := c.Update(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if again.GetGeneration() != o.GetGeneration() {
		t.Errorf("generation after another update = %d, want %d", again.GetGeneration(), o.GetGeneration())
	}
	if diff := cmp.Diff(o.GetAnnotations(), again.GetAnnotations()); diff != "" {
		t.Errorf("annotations after another update, -before +after:\n%s", diff)
	}
}

// TestIncomplete has custom resources without required fields of a pod spec. Refusing them is left
// to their controller.
func TestIncomplete(t *testing.T) {
	installRollouts(t)
	c, _ := newClient(t)
	reference, digest := push(t, env.Open, repository(t)+":1")
	for spec, want := range map[string]string{
		`{"template":{"spec":{"containers":[{"name":"a"}]}}}`:                     "",
		`{"template":{"spec":{"containers":[{"name":"a","image":null}]}}}`:        "",
		`{"template":{"spec":{"volumes":[{"image":{}},{"image":null}]}}}`:         "",
		`{"template":{"spec":{"volumes":null,"containers":[{"image":"IMAGE"}]}}}`: reference + "@" + digest,
	} {
		spec, want = strings.ReplaceAll(spec, "IMAGE", reference), strings.ReplaceAll(spec, "IMAGE", want)
		o, expected := custom(t, spec), custom(t, want)
		create(t, c, newNamespace(t, "enforce"), o)
		if diff := cmp.Diff(expected.Object["spec"], o.Object["spec"]); diff != "" {
			t.Errorf("spec %s, -want +got:\n%s", spec, diff)
		}
	}
}
