// SPDX-License-Identifier: Apache-2.0

package main

import "strings"

// object is a Kubernetes object as JSON.
type object map[string]any

// workload makes an object with a container app, and where sidecar is not empty another one.
func (st *stage) workload(apiVersion, kind, app, sidecar string) object {
	containers := []any{map[string]any{"name": "app", "image": app}}
	if sidecar != "" {
		containers = append(containers, map[string]any{"name": "sidecar", "image": sidecar})
	}
	spec := map[string]any{"containers": containers}
	template := map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "shop"}}, "spec": spec}
	o := object{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": "shop", "namespace": "shop"}}
	switch kind {
	case "Pod":
		o["spec"] = spec
	case "CronJob":
		o["spec"] = map[string]any{"schedule": "0 3 * * *", "jobTemplate": map[string]any{"spec": map[string]any{"template": template}}}
	default:
		o["spec"] = map[string]any{"template": template}
	}
	return o
}

// in follows a path of fields; nil where it leads nowhere.
func in(v any, path string) any {
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

// imagesOf gives the images of an object's containers, by name.
func imagesOf(o object) map[string]string {
	images := map[string]string{}
	for _, path := range []string{"spec", "spec/template/spec", "spec/jobTemplate/spec/template/spec"} {
		list, _ := in(o, path+"/containers").([]any)
		for _, c := range list {
			name, _ := in(c, "name").(string)
			images[name], _ = in(c, "image").(string)
		}
	}
	return images
}

// annotation is one of the object's own annotations.
func annotation(o object, name string) string {
	annotations, _ := in(o, "metadata/annotations").(map[string]any)
	value, _ := annotations[name].(string)
	return value
}
