// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/registry"
)

// movingTag is the tag that the Enter key moves.
const movingTag = "shop/web:1"

// prepare pushes the images to try, and creates a namespace for each mode, with the mode as its
// name.
func prepare(ctx context.Context, c *cluster.Cluster) error {
	for _, image := range []struct {
		at  *registry.Registry
		tag string
	}{
		{c.Open, movingTag},
		{c.Open, "shop/web:2"},
		{c.Open, "shop/report:nightly"},
		{c.Token, "private/app:1"},
	} {
		if _, err := image.at.PushImage(image.tag); err != nil {
			return err
		}
	}
	for _, mode := range []string{"enforce", "dry-run", "keep"} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: mode, Labels: map[string]string{cluster.ModeLabel: mode},
		}}
		if _, err := c.Client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("making namespace %s: %w", mode, err)
		}
		if err := newAccount(ctx, c.Client, mode); err != nil {
			return err
		}
	}
	return nil
}

// keepAccounts creates the default service account of each namespace, as a controller does
// elsewhere. Pods need it. It returns when ctx ends or something fails.
func keepAccounts(ctx context.Context, client kubernetes.Interface) error {
	for ctx.Err() == nil {
		namespaces, err := client.CoreV1().Namespaces().Watch(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("watching namespaces: %w", err)
		}
		for e := range namespaces.ResultChan() {
			ns, ok := e.Object.(*corev1.Namespace)
			if !ok || e.Type != watch.Added {
				continue
			}
			if err := newAccount(ctx, client, ns.Name); err != nil {
				namespaces.Stop()
				return err
			}
		}
	}
	return nil
}

func newAccount(ctx context.Context, client kubernetes.Interface, ns string) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	_, err := client.CoreV1().ServiceAccounts(ns).Create(ctx, account, metav1.CreateOptions{})
	// If the error is "not found", the namespace was deleted meanwhile.
	if err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("making the service account of namespace %s: %w", ns, err)
	}
	return nil
}
