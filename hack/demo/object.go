// SPDX-License-Identifier: Apache-2.0

package main

import "strings"

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

// field returns the value at a path of fields in v, or nil if there is none.
func field(v any, path string) any {
	for _, step := range strings.Split(path, "/") {
		switch m := v.(type) {
		case object:
			v = m[step]
		case map[string]any:
			v = m[step]
		default:
			return nil
		}
	}
	return v
}

// imagesOf returns the images of an object's containers, by the name of the container.
func imagesOf(o object) map[string]string {
	images := map[string]string{}
	for _, path := range []string{
		"spec", "spec/template/spec", "spec/jobTemplate/spec/template/spec",
	} {
		list, _ := field(o, path+"/containers").([]any)
		for _, c := range list {
			name, _ := field(c, "name").(string)
			images[name], _ = field(c, "image").(string)
		}
	}
	return images
}

// annotation returns the value of an annotation in the metadata of the object.
func annotation(o object, name string) string {
	annotations, _ := field(o, "metadata/annotations").(map[string]any)
	value, _ := annotations[name].(string)
	return value
}
