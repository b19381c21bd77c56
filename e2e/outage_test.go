// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/poll"
)

// dryRun creates a pod of an image as a dry run.
func dryRun(ctx context.Context, ns, image string) (*corev1.Pod, error) {
	return clustertest.DryRun(ctx, env.Client, ns, barePod(image))
}

// createPod creates a pod and returns its stored image.
func createPod(ctx context.Context, ns string, pod *corev1.Pod) (image string, err error) {
	o, err := env.Client.CoreV1().Pods(ns).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return o.Spec.Containers[0].Image, nil
}

// pushSpare pushes an image to the spare registry, and returns when tagpin can look it up. Another
// test may have switched the registry off until now.
func pushSpare(t *testing.T, ns string) (reference, digest string) {
	t.Helper()
	reference, digest = push(t, env.Spare, repository(t)+":1")
	other, _ := push(t, env.Spare, repository(t)+"-other:1") // so that the cache has no result for reference
	poll.Until(t, func(ctx context.Context) error {
		_, err := dryRun(ctx, ns, other)
		return err
	})
	return reference, digest
}

// switchOff switches the spare registry off until on is called or the test ends.
func switchOff(t *testing.T) (on func()) {
	t.Helper()
	env.Spare.SetDown(true)
	on = func() { env.Spare.SetDown(false) }
	t.Cleanup(on)
	return on
}

// TestRegistryDown applies a Deployment while its registry is down. The Deployment is admitted with
// a warning, and its pods are denied until the registry is back. Then they are pinned.
func TestRegistryDown(t *testing.T) {
	ns := newNamespace(t, "enforce")
	reference, digest := pushSpare(t, ns)
	switchOn := switchOff(t)
	warning := apply(t, ns, fmt.Sprintf(deployment, reference))
	for _, want := range []string{
		`Warning: admitted as it is; its pods wait until the image resolves: container "app": can't pin ` + reference + ": 503", "try again later",
	} {
		if !strings.Contains(warning, want) {
			t.Errorf("stderr of kubectl apply = %q, want %s", warning, want)
		}
	}
	if got := get(t, ns, "deployment/web").image(); got != reference {
		t.Errorf("image = %s, want %s", got, reference)
	}
	for name, pod := range map[string]*corev1.Pod{
		"its pod":    ownedPod(reference),
		"a bare pod": barePod(reference),
	} {
		_, err := createPod(t.Context(), ns, pod)
		if err == nil || !strings.Contains(err.Error(), "denied the request") || !strings.Contains(err.Error(), "try again later") {
			t.Errorf("creating %s: %v, want a denial", name, err)
		}
	}
	switchOn()
	poll.Until(t, func(ctx context.Context) error { // as its controller does
		image, err := createPod(ctx, ns, ownedPod(reference))
		if err != nil {
			return err
		}
		wantImage(t, "image of its pod", image, reference, digest)
		return nil
	})
	apply(t, ns, strings.ReplaceAll(fmt.Sprintf(deployment, reference), "name: app\n", "name: other\n"))
	wantImage(t, "image of the changed Deployment", get(t, ns, "deployment/web").image(), reference, digest)
}

// TestPinnedNeedsNoRegistry checks that pinned workloads still work while the registry is down.
func TestPinnedNeedsNoRegistry(t *testing.T) {
	ns := newNamespace(t, "enforce")
	reference, digest := pushSpare(t, ns)
	manifest := fmt.Sprintf(deployment, reference)
	apply(t, ns, manifest)
	switchOff(t)
	apply(t, ns, manifest)
	kubectl(t, "", "-n", ns, "scale", "deployment", "web", "--replicas=5")
	o := get(t, ns, "deployment/web")
	wantImage(t, "image", o.image(), reference, digest)
	image, err := createPod(t.Context(), ns, ownedPod(o.image()))
	if err != nil {
		t.Fatal(err)
	}
	wantImage(t, "image of its pod", image, reference, digest)
}

// TestPodsOfUnpinnedGoOn creates pods of an unpinned template while the registry is down. A
// controller's pod gets the cached digest. A user's pod is denied, because the tag may have moved.
func TestPodsOfUnpinnedGoOn(t *testing.T) {
	ns := newNamespace(t, "enforce")
	reference, digest := pushSpare(t, ns)
	if _, err := createPod(t.Context(), ns, ownedPod(reference)); err != nil {
		t.Fatal(err)
	}
	switchOff(t)
	image, err := createPod(t.Context(), ns, ownedPod(reference))
	if err != nil {
		t.Fatal(err)
	}
	wantImage(t, "image of a controller's pod", image, reference, digest)
	if _, err := createPod(t.Context(), ns, barePod(reference)); err == nil {
		t.Error("a bare pod was admitted, want a denial")
	}
}

// TestNobodyListens has an image of a host where nothing listens. The denial does not repeat the
// network's error.
func TestNobodyListens(t *testing.T) {
	pod := barePod("127.0.0.1:1/app:1")
	_, err := createPod(t.Context(), newNamespace(t, "enforce"), pod)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1: unreachable;") {
		t.Errorf("creating a pod: %v, want a denial because the host is unreachable", err)
	}
}
