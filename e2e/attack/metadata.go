// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	mirror       = "kubernetes.io/config.mirror"
	pins         = "tagpin.dev/pins"
	mark         = "@sha256:" // part of every pin
	forgedDigest = "@sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
)

// Ephemeral adds ephemeral containers by requests that also say that the pod is a mirror pod, or is
// being deleted, for example. The API server drops that after admission, so the images must be
// pinned.
func Ephemeral() Attack {
	return Attack{"ephemeral", func(ctx context.Context, t *Tenant, target *Victim) (Round, error) {
		image, api := target.images()[0], t.Client.CoreV1().Pods(t.Namespace)
		pod, err := api.Create(ctx, newPod([]string{target.Pins[image]}), metav1.CreateOptions{})
		if err != nil {
			return nil, err
		}
		n := 0
		return func(ctx context.Context) error {
			for _, metadata := range []map[string]any{
				{"annotations": map[string]string{mirror: "x"}},
				{"deletionTimestamp": "2020-01-01T00:00:00Z"},
				{"ownerReferences": []any{map[string]any{
					"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1", "controller": true,
				}}},
				{"namespace": t.Namespace, "labels": map[string]string{modeLabel: "off"}},
			} {
				n++
				container := map[string]string{"name": fmt.Sprintf("e%d", n), "image": image}
				if err := t.debug(ctx, pod.Name, metadata, container); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}}
}

// debug adds an ephemeral container to a pod, with a request that forges metadata.
func (t *Tenant) debug(ctx context.Context, pod string, metadata, container any) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": metadata, "spec": map[string]any{"ephemeralContainers": []any{container}},
	})
	if err != nil {
		return err
	}
	api := t.Client.CoreV1().Pods(t.Namespace)
	got, err := api.Patch(ctx, pod, types.StrategicMergePatchType, patch, metav1.PatchOptions{},
		"ephemeralcontainers")
	if err != nil {
		t.note("error: " + err.Error())
		return nil //nolint:nilerr // a denial is a good answer
	}
	for _, c := range got.Spec.EphemeralContainers {
		if !strings.Contains(c.Image, mark) {
			return fmt.Errorf("with metadata %v container %s is stored unpinned", metadata, c.Name)
		}
	}
	return nil
}

// unpinned creates a pod that the attacker wants to be stored without a digest.
func (t *Tenant) unpinned(ctx context.Context, why string, pod *corev1.Pod) error {
	got, err := t.Client.CoreV1().Pods(t.Namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		t.note("error: " + err.Error())
		return nil //nolint:nilerr // a denial is a good answer
	}
	if stored := got.Spec.Containers[0].Image; !strings.Contains(stored, mark) {
		return fmt.Errorf("%s: the pod is stored with %s", why, stored)
	}
	return nil
}

// Mirror creates pods with the annotation of mirror pods, which only a node may create. They are on
// a node of the attacker's.
func Mirror() Attack {
	return Attack{"mirror", func(_ context.Context, t *Tenant, target *Victim) (Round, error) {
		return func(ctx context.Context) error {
			pod := newPod(target.images()[:1])
			pod.Annotations = map[string]string{mirror: "x"}
			pod.Spec.NodeName = "virtual"
			return t.unpinned(ctx, "a user's mirror pod", pod)
		}, nil
	}}
}

// Auto creates pods with the placeholder of an injector that does not exist.
func Auto() Attack {
	return Attack{"auto", func(_ context.Context, t *Tenant, _ *Victim) (Round, error) {
		return func(ctx context.Context) error {
			return t.unpinned(ctx, "an injector's placeholder", newPod([]string{"auto"}))
		}, nil
	}}
}

// Annotations creates Deployments with tagpin's own annotations, as large as the API server
// accepts, with invalid or unfinished JSON.
func Annotations() Attack {
	return Attack{"annotations", func(_ context.Context, t *Tenant, target *Victim) (Round, error) {
		const most = 250 << 10
		entries := map[string]string{}
		for i := range most / 128 {
			entries[fmt.Sprintf("c%d", i)] = target.images()[0] + forgedDigest
		}
		many, err := json.Marshal(entries)
		if err != nil {
			return nil, err
		}
		texts := []string{
			string(many), strings.Repeat("[", most), strings.Repeat("\x1b[31m", most/5),
			`{"c0":"` + strings.Repeat("a", most),
		}
		names := []string{
			pins, "tagpin.dev/refresh", "tagpin.dev/proposed-pins",
			"kubectl.kubernetes.io/restartedAt",
		}
		return func(ctx context.Context) error {
			for _, text := range texts {
				for _, name := range names {
					d := newDeployment(target.images())
					d.Annotations = map[string]string{name: text}
					d.Spec.Template.Annotations = map[string]string{name: text}
					images, err := t.deploy(ctx, d)
					if err == nil && images[0] != target.Pins[target.images()[0]] {
						return fmt.Errorf("with a huge annotation %s the image is stored as %s", name, images[0])
					}
				}
			}
			return nil
		}, nil
	}}
}

// Revision creates pods that claim to belong to the victim's revision, and run another digest.
func Revision() Attack {
	return Attack{"revision", func(_ context.Context, t *Tenant, target *Victim) (Round, error) {
		image := target.images()[0]
		note, err := json.Marshal(map[string]string{"c0": image + forgedDigest})
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) error {
			for range 10 {
				pod := owned(newPod([]string{image + forgedDigest}), *target.Owner)
				pod.Annotations = map[string]string{pins: string(note)}
				api := t.Client.CoreV1().Pods(t.Namespace)
				_, err := api.Create(ctx, pod, metav1.CreateOptions{})
				if err != nil && !apierrors.IsForbidden(err) {
					return err
				}
			}
			return nil
		}, nil
	}}
}
