// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// pinMark is in every pin of tagpin's.
const pinMark = "@sha256:"

// Pods creates pods through an API server, as a dry run, so that nothing is stored and nothing starts: admission number i has
// the name load-i, and one of the images in turn. The client must have no rate limit of its own.
func Pods(client kubernetes.Interface, namespace string, images []string) Attempt {
	return func(ctx context.Context, i int) (bool, error) {
		pod := newPod(i, images)
		created, err := client.CoreV1().Pods(namespace).Create(ctx, &pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			return false, err
		}
		return strings.Contains(created.Spec.Containers[0].Image, pinMark), nil
	}
}

func newPod(i int, images []string) corev1.Pod {
	return corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("load-%d", i)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: images[i%len(images)]}}},
	}
}
