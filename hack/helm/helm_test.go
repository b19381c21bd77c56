// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	loader3 "helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	engine3 "helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/yaml"
)

// object is a Kubernetes object, or a mapping in it.
type object = map[string]any

// render3 does the same as render, with Helm 3.
func render3(values map[string]any) (map[string]string, error) {
	chart, err := loader3.LoadDir(chartDir)
	if err != nil {
		return nil, err
	}
	options := chartutil.ReleaseOptions{
		Name: "tagpin", Namespace: namespace, Revision: 1, IsInstall: true,
	}
	all, err := chartutil.ToRenderValues(chart, withImage(values), options, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine3.Render(chart, all)
	if err != nil {
		return nil, err
	}
	return manifests(files), nil
}

// cases returns the values in the chart's ci folder, by file name without its suffix.
func cases(t *testing.T) map[string]map[string]any {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(chartDir, "ci", "*-values.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("found no values in ci: %v", err)
	}
	all := map[string]map[string]any{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), "-values.yaml")
		all[name] = values(t, string(text))
	}
	return all
}

// values parses YAML.
func values(t *testing.T, text string) map[string]any {
	t.Helper()
	v := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// objects returns the objects of a rendered chart. The key is the kind and the name, and the
// namespace if it is not tagpin's own.
func objects(t *testing.T, rendered map[string]string) map[string]object {
	t.Helper()
	all := map[string]object{}
	for _, file := range slices.Sorted(maps.Keys(rendered)) {
		for document := range bytes.SplitSeq([]byte(rendered[file]), []byte("\n---")) {
			o := object{}
			if err := yaml.UnmarshalStrict(document, &o); err != nil {
				t.Fatalf("%s: %v\n%s", file, err, document)
			}
			if len(o) == 0 {
				continue
			}
			metadata := o["metadata"].(object)
			key := o["kind"].(string) + " " + metadata["name"].(string)
			if ns, ok := metadata["namespace"].(string); ok && ns != namespace {
				key += " " + ns
			}
			if all[key] != nil {
				t.Errorf("%s is rendered twice", key)
			}
			all[key] = o
		}
	}
	return all
}

// at returns the value at a path of an object, or nil if there is none.
func at(o any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := o.(object)
			o = m[step]
		case int:
			list, _ := o.([]any)
			if step >= len(list) {
				return nil
			}
			o = list[step]
		}
	}
	return o
}
