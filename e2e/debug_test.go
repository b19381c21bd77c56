// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestDebug adds ephemeral containers with kubectl debug. The API server takes nothing else from
// such a request, so the annotation must not change.
func TestDebug(t *testing.T) {
	c, _ := newClient(t)
	reference, digest := push(t, env.Open, repository(t)+":1")
	tools, toolsDigest := push(t, env.Open, repository(t)+"-tools:1")
	ns := newNamespace(t, "enforce")
	pod := kinds()["Pod"](podSpec(reference)).(*corev1.Pod)
	create(t, c, ns, pod)
	before := pod.Annotations["tagpin.dev/pins"]
	debug := func(name, image string) error {
		// With --attach kubectl would wait for the container, which no kubelet starts.
		_, _, err := env.RunKubectl(t.Context(), nil, "-n", ns, "debug", pod.Name, "--image="+image,
			"--container="+name, "--attach=false", "--profile=general")
		return err
	}
	for name, image := range map[string]string{"same": reference, "tools": tools} {
		if err := debug(name, image); err != nil {
			t.Fatal(err)
		}
	}
	if err := debug("missing", env.Open.Host+"/nowhere:1"); err == nil || !strings.Contains(err.Error(), `container "missing": can't pin`) {
		t.Errorf("kubectl debug with a missing image: %v, want a denial that names the container", err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
		t.Fatal(err)
	}
	images := map[string]string{}
	for _, e := range pod.Spec.EphemeralContainers {
		images[e.Name] = e.Image
	}
	wantImage(t, "ephemeral container same", images["same"], reference, digest)
	wantImage(t, "ephemeral container tools", images["tools"], tools, toolsDigest)
	if got, ok := images["missing"]; ok {
		t.Errorf("the denied container exists, with the image %s", got)
	}
	if got := pod.Annotations["tagpin.dev/pins"]; got != before {
		t.Errorf("tagpin.dev/pins = %s, want it unchanged: %s", got, before)
	}
}

// TestDebugAfterTagMoved checks that an ephemeral container gets the digest that the pod already
// runs for its text.
func TestDebugAfterTagMoved(t *testing.T) {
	ns, tag := newNamespace(t, "enforce"), repository(t)+":1"
	reference, digest := push(t, env.Open, tag)
	kubectl(t, "", "-n", ns, "run", "shell", "--image="+reference)
	push(t, env.Open, tag)
	kubectl(t, "", "-n", ns, "debug", "shell", "--image="+reference, "--container=debugger", "--attach=false", "--profile=general")
	got := kubectl(t, "", "-n", ns, "get", "pod", "shell", "-o", "jsonpath={.spec.ephemeralContainers[0].image}")
	wantImage(t, "ephemeral container", got, reference, digest)
}

// TestDebugWithForgedMetadata adds ephemeral containers by patches that also set metadata which
// exempts objects elsewhere. The API server takes only the containers, and drops the rest after the
// webhooks.
func TestDebugWithForgedMetadata(t *testing.T) {
	reference, digest := push(t, env.Open, repository(t)+":1")
	ns := newNamespace(t, "enforce")
	kubectl(t, "", "-n", ns, "run", "shell", "--image="+reference)
	for name, more := range map[string]string{
		"mirror":  `"metadata":{"annotations":{"kubernetes.io/config.mirror":"x"}}`,
		"deleted": `"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"}`,
		"owned": `"metadata":{"ownerReferences":[
			{"apiVersion":"e2e.tagpin.dev/v1","kind":"Picky","name":"p","uid":"u","controller":true}]}`,
	} {
		patch := fmt.Appendf(nil, `{%s,"spec":{"ephemeralContainers":[{"name":%q,"image":%q}]}}`,
			more, name, reference)
		pod, err := env.Client.CoreV1().Pods(ns).Patch(t.Context(), "shell",
			types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "ephemeralcontainers")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, e := range pod.Spec.EphemeralContainers {
			if e.Name == name {
				wantImage(t, "ephemeral container "+name, e.Image, reference, digest)
			}
		}
		if len(pod.Annotations) != 1 || pod.DeletionTimestamp != nil || len(pod.OwnerReferences) != 0 {
			t.Errorf("%s: the forged metadata was stored: %+v", name, pod.ObjectMeta)
		}
	}
}
