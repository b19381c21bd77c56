// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestDebug adds ephemeral containers by kubectl debug. The API server takes nothing else of such a request, so that the
// annotation stays as it was.
func TestDebug(t *testing.T) {
	c, _ := newClient(t)
	reference, digest := push(t, env.Open, repository(t)+":1")
	tools, toolsDigest := push(t, env.Open, repository(t)+"-tools:1")
	ns := newNamespace(t, "enforce")
	pod := kinds()["Pod"](podSpec(reference)).(*corev1.Pod)
	create(t, c, ns, pod)
	before := pod.Annotations["tagpin.dev/pins"]
	debug := func(name, image string) error {
		// Attached, kubectl would wait for the container, which no kubelet starts.
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
		t.Errorf("kubectl debug with an image that is nowhere: %v, want a denial that names the container", err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
		t.Fatal(err)
	}
	images := map[string]string{}
	for _, e := range pod.Spec.EphemeralContainers {
		images[e.Name] = e.Image
	}
	wantImage(t, "image of the pod again", images["same"], reference, digest)
	wantImage(t, "image of tools", images["tools"], tools, toolsDigest)
	if got, ok := images["missing"]; ok {
		t.Errorf("the denied container is there, with %s", got)
	}
	if got := pod.Annotations["tagpin.dev/pins"]; got != before {
		t.Errorf("tagpin.dev/pins = %s, want it as it was: %s", got, before)
	}
}

// TestDebugAfterTagMoved gives an ephemeral container the digest that the pod runs for the same text.
func TestDebugAfterTagMoved(t *testing.T) {
	ns, tag := newNamespace(t, "enforce"), repository(t)+":1"
	reference, digest := push(t, env.Open, tag)
	kubectl(t, "", "-n", ns, "run", "shell", "--image="+reference)
	push(t, env.Open, tag)
	kubectl(t, "", "-n", ns, "debug", "shell", "--image="+reference, "--container=debugger", "--attach=false", "--profile=general")
	got := kubectl(t, "", "-n", ns, "get", "pod", "shell", "-o", "jsonpath={.spec.ephemeralContainers[0].image}")
	wantImage(t, "ephemeral container", got, reference, digest)
}
