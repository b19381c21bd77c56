// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"maps"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

var templateAnnotations = []string{"spec", "template", "metadata", "annotations"}

// TestTerraformDeployment does what each apply of Terraform's kubernetes_deployment does: it
// replaces the spec by one without tagpin's annotation. That rolls nothing out, until it removes
// the annotation of a restart, and then the digest stays.
func TestTerraformDeployment(t *testing.T) {
	g := newGitops(t, "Terraform")
	tag := repository(t) + ":1"
	reference, first := push(t, env.Open, tag)
	g.apply(g.manifest(reference, ""))
	for range reconciles {
		push(t, env.Open, tag)
		g.replaceSpec(g.manifest(reference, ""))
	}
	g.want("applied again", reference, first, 1)
	_, second := push(t, env.Open, tag)
	kubectl(t, "", "-n", g.ns, "rollout", "restart", "deployment/web")
	g.want("restarted", reference, second, 2)
	push(t, env.Open, tag)
	g.replaceSpec(g.manifest(reference, ""))
	g.want("applied after the restart", reference, second, 3)
	g.replaceSpec(g.manifest(reference, ""))
	g.want("applied again after the restart", reference, second, 3)
}

func (g *gitops) replaceSpec(o *unstructured.Unstructured) {
	g.t.Helper()
	patch, err := json.Marshal([]any{
		map[string]any{"op": "replace", "path": "/spec", "value": o.Object["spec"]},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	_, err = g.api.Patch(g.t.Context(), o.GetName(), types.JSONPatchType, patch, metav1.PatchOptions{})
	if err != nil {
		g.t.Fatal(err)
	}
}

// TestTerraformManifest does what Terraform's kubernetes_manifest does with the settings in
// deploy/docs/terraform.md. It applies without force. If the image in its configuration has not
// changed, it sends the image and the annotations of the template that it has read. A restart still
// moves the digest, and a new tag is resolved.
func TestTerraformManifest(t *testing.T) {
	g := newGitops(t, "Terraform")
	tag := repository(t) + ":1"
	reference, first := push(t, env.Open, tag)
	own := map[string]any{"example.com/images": reference}
	g.applyUnforced(g.manifest(reference, ""), own)
	g.want("applied", reference, first, 1)

	_, second := push(t, env.Open, tag)
	g.applyUnforced(g.asRead(2), nil)
	g.want("another field was changed", reference, first, 2)
	kubectl(t, "", "-n", g.ns, "rollout", "restart", "deployment/web")
	g.want("restarted", reference, second, 3)
	g.applyUnforced(g.asRead(2), nil)
	g.want("applied after the restart", reference, second, 3)

	next, third := push(t, env.Open, repository(t)+":2")
	g.applyUnforced(g.manifest(next, ""), map[string]any{"example.com/images": next})
	g.want("a new tag", next, third, 4)
}

// asRead returns the manifest with the image and the annotations of the template in the cluster,
// and a number of replicas.
func (g *gitops) asRead(replicas int64) *unstructured.Unstructured {
	g.t.Helper()
	live := g.live()
	containers, _, err := unstructured.NestedSlice(live.Object, "spec", "template", "spec", "containers")
	if err != nil {
		g.t.Fatal(err)
	}
	annotations, _, err := unstructured.NestedMap(live.Object, templateAnnotations...)
	if err != nil {
		g.t.Fatal(err)
	}
	o := g.manifest(containers[0].(map[string]any)["image"].(string), "")
	if err := unstructured.SetNestedField(o.Object, replicas, "spec", "replicas"); err != nil {
		g.t.Fatal(err)
	}
	if err := unstructured.SetNestedMap(o.Object, annotations, templateAnnotations...); err != nil {
		g.t.Fatal(err)
	}
	return o
}

// applyUnforced makes a server-side apply without force, after it has added annotations to the
// template.
func (g *gitops) applyUnforced(o *unstructured.Unstructured, annotations map[string]any) {
	g.t.Helper()
	all, _, err := unstructured.NestedMap(o.Object, templateAnnotations...)
	if err != nil {
		g.t.Fatal(err)
	}
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, annotations)
	if err := unstructured.SetNestedMap(o.Object, all, templateAnnotations...); err != nil {
		g.t.Fatal(err)
	}
	data, err := json.Marshal(o)
	if err != nil {
		g.t.Fatal(err)
	}
	_, err = g.api.Patch(g.t.Context(), o.GetName(), types.ApplyPatchType, data,
		metav1.PatchOptions{FieldManager: g.manager})
	if err != nil {
		g.t.Fatal(err)
	}
}
