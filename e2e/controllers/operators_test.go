// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/poll"
)

// operator creates a pod, and replaces it when its image differs from the text that the operator
// wants, as some operators do.
type operator struct {
	client kubernetes.Interface
	space  *space
	image  string
	made   atomic.Int32
}

// pickyPod returns a pod that belongs to a controller of the kind Picky. The garbage collector
// ignores owners of unknown kinds.
func (o *operator) pickyPod() *corev1.Pod {
	controller := true
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "picky", OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "e2e.tagpin.dev/v1", Kind: "Picky", Name: "picky", UID: "picky", Controller: &controller,
		}}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: o.image}}},
	}
}

// reconcile looks at the pod once.
func (o *operator) reconcile(ctx context.Context) error {
	pods := o.client.CoreV1().Pods(o.space.name)
	pod, err := pods.Get(ctx, "picky", metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		o.made.Add(1)
		_, err = pods.Create(ctx, o.pickyPod(), metav1.CreateOptions{})
		return err
	case err != nil:
		return err
	case pod.DeletionTimestamp == nil && pod.Spec.Containers[0].Image != o.image:
		now := int64(0)
		err := pods.Delete(ctx, "picky", metav1.DeleteOptions{GracePeriodSeconds: &now})
		if apierrors.IsNotFound(err) { // kwok removes a deleted pod by name, and so may hit this one
			return nil
		}
		return err
	}
	return nil
}

// runOperator runs an operator with the name of a user, which looks at its pod several times.
func runOperator(t *testing.T, s *space, user, image string) *operator {
	t.Helper()
	config := clustertest.Impersonate(env.Config, user, "system:masters")
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{client: client, space: s, image: image}
	for range 20 {
		if err := o.reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return o
}

// TestPickyOperator has an operator that compares images. Its pods are left alone, because
// skipOwners names the owner and the user. The same owner with another user exempts nothing.
func TestPickyOperator(t *testing.T) {
	t.Parallel()
	s := newSpace(t, "enforce")
	reference, digest := s.push("1")
	if o := runOperator(t, s, "picky", reference); o.made.Load() != 1 {
		t.Errorf("the operator has created its pod %d times, want once", o.made.Load())
	}
	s.wantPods("of the operator", 1, reference)
	s.kubectl("", "label", "pod", "picky", "new=label")
	s.wantPods("labelled", 1, reference)
	s.kubectl("", "delete", "pod", "picky", "--now")
	forger := runOperator(t, s, "forger", reference)
	if got := forger.made.Load(); got < 2 {
		t.Errorf("another user has created the pod %d times, want more, because it is pinned", got)
	}
	s.eventually("a forged pod", func(ctx context.Context) error { return forger.reconcile(ctx) })
	for _, image := range s.images() {
		if image != reference+"@"+digest {
			t.Errorf("the pod with a forged owner runs %s, want %s", image, reference+"@"+digest)
		}
	}
}

// TestDeletedWhileRegistryIsDown has unpinned objects with a finalizer that are being deleted. The
// finalizer can be removed, although their images can't be resolved.
func TestDeletedWhileRegistryIsDown(t *testing.T) { // not parallel, because the registry is down
	s := newSpace(t, "")
	reference := env.Spare.Host + "/" + s.name + "/nowhere:1"
	s.apply(manifest("Deployment", reference, 1))
	s.wantPods("made", 1, reference)
	s.enforce()
	env.Spare.SetDown(true)
	defer env.Spare.SetDown(false)
	const finalizer = `{"metadata":{"finalizers":%s}}`
	pod := "pod/" + s.pods()[0].Name
	for _, object := range []string{pod, "deployment/web"} {
		s.kubectl("", "patch", object, "--type=merge", "-p", fmt.Sprintf(finalizer, `["e2e.tagpin.dev/hold"]`))
		s.kubectl("", "delete", object, "--wait=false")
		s.kubectl("", "label", object, "last=edit")
		s.kubectl("", "patch", object, "--type=merge", "-p", fmt.Sprintf(finalizer, "null"))
		s.kubectl("", "wait", object, "--for=delete", "--timeout="+poll.Deadline.String())
	}
}

// TestDebugTwice adds two ephemeral containers with one tag, which moves in between, to a
// controller's pod. Both run one digest.
func TestDebugTwice(t *testing.T) {
	t.Parallel()
	s := newSpace(t, "enforce")
	reference, digest := s.push("1")
	s.apply(manifest("Deployment", reference, 1))
	s.rolledOut("deployment/web")
	pod := s.pods()[0].Name
	tools, toolsDigest := s.push("tools")
	for _, name := range []string{"one", "two"} {
		s.kubectl("", "debug", pod, "--image="+tools, "--container="+name, "--attach=false", "--profile=general")
		s.push("tools")
	}
	for i, c := range s.pods()[0].Spec.EphemeralContainers {
		if want := tools + "@" + toolsDigest; c.Image != want {
			t.Errorf("ephemeral container %d = %s, want %s", i, c.Image, want)
		}
	}
	s.wantStable("debugged", reference+"@"+digest, 1)
	s.wantPods("debugged", 1, reference+"@"+digest)
}
