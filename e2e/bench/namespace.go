// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/clustertest"
)

const (
	// waitLimit bounds a wait for the cluster, such as for 10,000 pods.
	waitLimit    = 8 * time.Minute
	pollInterval = 50 * time.Millisecond
)

// until calls f until it returns nil, or waitLimit has passed.
func until(ctx context.Context, what string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, errors.Join(err, ctx.Err()))
		case <-time.After(pollInterval):
		}
	}
}

// newNamespace creates a namespace with the service account that pods need.
func (b *bench) newNamespace(ctx context.Context, prefix string) (string, error) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix}}
	ns, err := b.Client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	_, err = b.Client.CoreV1().ServiceAccounts(ns.Name).Create(ctx, account, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) { // a controller was faster
		err = nil
	}
	return ns.Name, err
}

// switchOn labels a namespace, and returns when new pods of it with an image get a digest.
func (b *bench) switchOn(ctx context.Context, ns, label, image string) error {
	_, _, err := b.RunKubectl(ctx, nil, "label", "namespace", ns, label+"=enforce")
	if err != nil {
		return err
	}
	return until(ctx, "the label of "+ns, func(ctx context.Context) error {
		pod, err := clustertest.DryRun(ctx, b.Client, ns, clustertest.Pod("probe", image))
		if err == nil && !isPinned(pod.Spec.Containers[0].Image) {
			err = fmt.Errorf("a new pod has the image %s", pod.Spec.Containers[0].Image)
		}
		return err
	})
}

// isPinned reports whether an image has a digest.
func isPinned(image string) bool { return strings.Contains(image, "@sha256:") }

// push pushes images to the open registry, and returns their references.
func (b *bench) push(prefix string, n int) (references []string, err error) {
	for i := range n {
		tag := fmt.Sprintf("%s/app%d:1", prefix, i)
		if _, err := b.Open.PushImage(tag); err != nil {
			return nil, err
		}
		references = append(references, b.Open.Host+"/"+tag)
	}
	return references, nil
}

// lookups returns how many requests for manifests of such images the registry got.
func (b *bench) lookups(prefix string, n int) int {
	sum := 0
	for i := range n {
		sum += b.Open.Lookups(fmt.Sprintf("%s/app%d", prefix, i))
	}
	return sum
}
