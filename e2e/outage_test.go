// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/poll"
)

// ownedPod is a pod as a ReplicaSet's controller makes it.
func ownedPod(image string) *corev1.Pod {
	controller := true
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "web-", OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "1", Controller: &controller,
		}}},
		Spec: podSpec(image),
	}
}

// createPod creates a pod and returns its image as it is stored.
func createPod(ctx context.Context, ns string, pod *corev1.Pod) (image string, err error) {
	o, err := env.Client.CoreV1().Pods(ns).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return o.Spec.Containers[0].Image, nil
}

// pushSpare pushes an image to the spare registry, and returns when tagpin can look it up: another test may have had the
// registry switched off until now.
func pushSpare(t *testing.T, ns string) (reference, digest string) {
	t.Helper()
	reference, digest = push(t, env.Spare, repository(t)+":1")
	other, _ := push(t, env.Spare, repository(t)+"-other:1") // tagpin is not to know the first
	poll.Until(t, func(ctx context.Context) error {
		probe := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Spec: podSpec(other)}
		_, err := env.Client.CoreV1().Pods(ns).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
	return reference, digest
}

// switchOff switches the spare registry off until the test ends or on is called.
func switchOff(t *testing.T) (on func()) {
	t.Helper()
	env.Spare.SetDown(true)
	on = func() { env.Spare.SetDown(false) }
	t.Cleanup(on)
	return on
}

// TestRegistryDown defers: a Deployment is admitted as it is, with a warning, and its pods are denied until the registry
// is back, when they are pinned.
func TestRegistryDown(t *testing.T) {
	ns := newNamespace(t, "enforce")
	reference, digest := pushSpare(t, ns)
	switchOn := switchOff(t)
	warning := apply(t, ns, fmt.Sprintf(deployment, reference))
	for _, want := range []string{
		`Warning: container "app": can't pin ` + reference, "try again later", "admitted as it is, its pods wait until it resolves",
	} {
		if !strings.Contains(warning, want) {
			t.Errorf("kubectl apply says %q, want %s", warning, want)
		}
	}
	if got := get(t, ns, "deployment/web").image(); got != reference {
		t.Errorf("image = %s, want %s", got, reference)
	}
	for name, pod := range map[string]*corev1.Pod{
		"its pod":    ownedPod(reference),
		"a bare pod": {ObjectMeta: metav1.ObjectMeta{Name: "bare"}, Spec: podSpec(reference)},
	} {
		_, err := createPod(t.Context(), ns, pod)
		if err == nil || !strings.Contains(err.Error(), "denied the request") || !strings.Contains(err.Error(), "try again later") {
			t.Errorf("creating %s: %v, want it denied", name, err)
		}
	}
	switchOn()
	poll.Until(t, func(ctx context.Context) error { // as its controller would
		image, err := createPod(ctx, ns, ownedPod(reference))
		if err != nil {
			return err
		}
		wantImage(t, "image of its pod", image, reference, digest)
		return nil
	})
	apply(t, ns, strings.ReplaceAll(fmt.Sprintf(deployment, reference), "name: app\n", "name: other\n"))
	wantImage(t, "image of the Deployment, changed", get(t, ns, "deployment/web").image(), reference, digest)
}

// TestPinnedNeedsNoRegistry goes on with what is pinned while the registry is down.
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

// TestPodsOfUnpinnedGoOn answers a controller's pods from memory while the registry is down: their template is older than
// tagpin. A person's is denied, as a tag may have moved.
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
	bare := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bare"}, Spec: podSpec(reference)}
	if _, err := createPod(t.Context(), ns, bare); err == nil {
		t.Error("a bare pod was admitted, want it denied")
	}
}

// TestNobodyListens has an image whose host nothing listens at: the denial does not tell what the network said.
func TestNobodyListens(t *testing.T) {
	bare := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bare"}, Spec: podSpec("127.0.0.1:1/app:1")}
	_, err := createPod(t.Context(), newNamespace(t, "enforce"), bare)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1: unreachable;") {
		t.Errorf("creating a pod: %v, want it denied as unreachable", err)
	}
}
