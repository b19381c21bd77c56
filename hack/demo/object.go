// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// object is a Kubernetes object as JSON.
type object map[string]any

// workload returns an object with a container "app" and, if sidecar is not empty, a container
// "sidecar". app and sidecar are images.
func (st *stage) workload(apiVersion, kind, app, sidecar string) object {
	containers := []any{map[string]any{"name": "app", "image": app}}
	if sidecar != "" {
		containers = append(containers, map[string]any{"name": "sidecar", "image": sidecar})
	}
	spec := map[string]any{"containers": containers}
	template := map[string]any{
		"metadata": map[string]any{"labels": map[string]any{"app": "shop"}},
		"spec":     spec,
	}
	o := object{
		"apiVersion": apiVersion, "kind": kind,
		"metadata": map[string]any{"name": "shop", "namespace": "shop"},
	}
	switch kind {
	case "Pod":
		o["spec"] = spec
	case "CronJob":
		jobSpec := map[string]any{"template": template}
		o["spec"] = map[string]any{
			"schedule": "0 3 * * *", "jobTemplate": map[string]any{"spec": jobSpec},
		}
	default:
		o["spec"] = map[string]any{"template": template}
	}
	return o
}

// imagesOf returns the images of an object's containers, by the name of the container.
func imagesOf(o object) map[string]string {
	images := map[string]string{}
	for _, path := range []string{
		"spec/containers",
		"spec/template/spec/containers",
		"spec/jobTemplate/spec/template/spec/containers",
	} {
		list, _, _ := unstructured.NestedSlice(o, strings.Split(path, "/")...)
		for _, c := range list {
			name, _, _ := unstructured.NestedString(c.(map[string]any), "name")
			images[name], _, _ = unstructured.NestedString(c.(map[string]any), "image")
		}
	}
	return images
}
