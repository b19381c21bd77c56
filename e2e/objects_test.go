// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// podSpec returns a valid pod spec with a container for each image: c0, c1, and so on.
func podSpec(images ...string) corev1.PodSpec {
	spec := corev1.PodSpec{}
	for i, image := range images {
		spec.Containers = append(spec.Containers, corev1.Container{Name: "c" + string(rune('0'+i)), Image: image})
	}
	return spec
}

// barePod returns a pod that no controller owns.
func barePod(image string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "bare-"}, Spec: podSpec(image)}
}

// ownedPod returns a pod as the controller of a ReplicaSet creates it.
func ownedPod(image string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "web-"}, Spec: podSpec(image)}
	pod.OwnerReferences = controlledBy("apps/v1", "ReplicaSet")
	return pod
}

// controlledBy returns the owner reference of a controller.
func controlledBy(apiVersion, kind string) []metav1.OwnerReference {
	controller := true
	return []metav1.OwnerReference{{
		APIVersion: apiVersion, Kind: kind, Name: "owner", UID: "1", Controller: &controller,
	}}
}

// addContainers adds n containers with an image.
func addContainers(spec *corev1.PodSpec, n int, image string) {
	for i := range n {
		c := corev1.Container{Name: fmt.Sprint("n", i), Image: image}
		spec.Containers = append(spec.Containers, c)
	}
}

// kinds returns all built-in kinds that have images, by name, each with a function that makes a
// valid object.
func kinds() map[string]func(corev1.PodSpec) client.Object {
	meta := metav1.ObjectMeta{Name: "w"}
	labels := map[string]string{"app": "w"}
	selector := &metav1.LabelSelector{MatchLabels: labels}
	template := func(spec corev1.PodSpec) corev1.PodTemplateSpec {
		return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec}
	}
	once := func(spec corev1.PodSpec) batchv1.JobSpec {
		spec.RestartPolicy = corev1.RestartPolicyNever
		return batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: spec}}
	}
	return map[string]func(corev1.PodSpec) client.Object{
		"Pod": func(s corev1.PodSpec) client.Object { return &corev1.Pod{ObjectMeta: meta, Spec: s} },
		"PodTemplate": func(s corev1.PodSpec) client.Object {
			return &corev1.PodTemplate{ObjectMeta: meta, Template: template(s)}
		},
		"ReplicationController": func(s corev1.PodSpec) client.Object {
			t := template(s)
			return &corev1.ReplicationController{
				ObjectMeta: meta, Spec: corev1.ReplicationControllerSpec{Selector: labels, Template: &t},
			}
		},
		"Deployment": func(s corev1.PodSpec) client.Object {
			return &appsv1.Deployment{
				ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template(s)},
			}
		},
		"ReplicaSet": func(s corev1.PodSpec) client.Object {
			return &appsv1.ReplicaSet{
				ObjectMeta: meta, Spec: appsv1.ReplicaSetSpec{Selector: selector, Template: template(s)},
			}
		},
		"StatefulSet": func(s corev1.PodSpec) client.Object {
			return &appsv1.StatefulSet{
				ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: template(s)},
			}
		},
		"DaemonSet": func(s corev1.PodSpec) client.Object {
			return &appsv1.DaemonSet{
				ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template(s)},
			}
		},
		"Job": func(s corev1.PodSpec) client.Object { return &batchv1.Job{ObjectMeta: meta, Spec: once(s)} },
		"CronJob": func(s corev1.PodSpec) client.Object {
			return &batchv1.CronJob{ObjectMeta: meta, Spec: batchv1.CronJobSpec{
				Schedule: "0 0 * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: once(s)},
			}}
		},
	}
}

// parts returns the pod spec of an object, and the metadata beside it.
func parts(t testing.TB, o client.Object) (*metav1.ObjectMeta, *corev1.PodSpec) {
	t.Helper()
	var template *corev1.PodTemplateSpec
	switch o := o.(type) {
	case *corev1.Pod:
		return &o.ObjectMeta, &o.Spec
	case *corev1.PodTemplate:
		template = &o.Template
	case *corev1.ReplicationController:
		template = o.Spec.Template
	case *appsv1.Deployment:
		template = &o.Spec.Template
	case *appsv1.ReplicaSet:
		template = &o.Spec.Template
	case *appsv1.StatefulSet:
		template = &o.Spec.Template
	case *appsv1.DaemonSet:
		template = &o.Spec.Template
	case *batchv1.Job:
		template = &o.Spec.Template
	case *batchv1.CronJob:
		template = &o.Spec.JobTemplate.Spec.Template
	default:
		t.Fatalf("a %T has no pod spec", o)
	}
	return &template.ObjectMeta, &template.Spec
}

func specOf(t testing.TB, o client.Object) *corev1.PodSpec {
	t.Helper()
	_, spec := parts(t, o)
	return spec
}

// annotate sets an annotation in the metadata beside the pod spec.
func annotate(t testing.TB, o client.Object, key, value string) {
	t.Helper()
	meta, _ := parts(t, o)
	if meta.Annotations == nil {
		meta.Annotations = map[string]string{}
	}
	meta.Annotations[key] = value
}

// imageVolume returns an image volume.
func imageVolume(name, reference string) corev1.Volume {
	image := &corev1.ImageVolumeSource{Reference: reference}
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Image: image}}
}

// digestOf returns an invented digest that repeats a hexadecimal digit.
func digestOf(digit string) string { return "sha256:" + strings.Repeat(digit, 64) }
