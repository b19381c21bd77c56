// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type deployment = appsv1.Deployment

// podSpec returns a pod spec with a container for each image, and with pull secrets.
func podSpec(images []string, secrets ...string) corev1.PodSpec {
	spec := corev1.PodSpec{}
	for i, image := range images {
		c := corev1.Container{Name: fmt.Sprintf("c%d", i), Image: image}
		spec.Containers = append(spec.Containers, c)
	}
	for _, s := range secrets {
		spec.ImagePullSecrets = append(spec.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
	}
	return spec
}

func newPod(images []string, secrets ...string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "app-"},
		Spec:       podSpec(images, secrets...),
	}
}

func newDeployment(images []string, secrets ...string) *deployment {
	labels := map[string]string{"app": "app"}
	return &deployment{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "app-"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       podSpec(images, secrets...),
			},
		},
	}
}

// owned adds an owner and the label of a revision to a pod.
func owned(pod *corev1.Pod, owner Owner) *corev1.Pod {
	controller := true
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "app", UID: owner.UID,
		Controller: &controller,
	}}
	pod.Labels = map[string]string{"pod-template-hash": owner.Revision}
	return pod
}
