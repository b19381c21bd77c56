// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/tagpin/tagpin/pkg/manifest"
	"github.com/tagpin/tagpin/pkg/workload"
)

// applied returns the images of known kinds that kubectl would apply from a file. Like kubectl, it
// stops at the first document that it can't parse, and goes on after one that is no object.
func applied(data []byte) (images []string) {
	valid := string([]rune(strings.TrimPrefix(string(data), "\uFEFF")))
	d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(valid), 4096)
	for {
		var document runtime.RawExtension
		if d.Decode(&document) != nil {
			return images
		}
		raw := bytes.TrimSpace(document.Raw)
		if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
			continue
		}
		object, kind, err := unstructured.UnstructuredJSONScheme.Decode(raw, nil, nil)
		if err == nil && kind.Version != "" {
			images = append(images, imagesOf(object)...)
		}
	}
}

// imagesOf returns the images of an object, or of the items of a list.
func imagesOf(object runtime.Object) (images []string) {
	if list, ok := object.(runtime.Unstructured); ok && list.IsList() {
		_ = list.EachListItem(func(item runtime.Object) error {
			images = append(images, imagesOf(item)...)
			return nil
		})
		return images
	}
	u := object.(*unstructured.Unstructured)
	raw, err := u.MarshalJSON()
	if err != nil || u.GetAPIVersion() == "" {
		return nil
	}
	var none *workload.Table
	scanned, err := none.Scan(workload.KindOf(u.GetAPIVersion(), u.GetKind()), raw)
	if err != nil { // no known kind
		return nil
	}
	for _, spec := range scanned.PodSpecs {
		for _, r := range spec.References {
			if strings.TrimSpace(r.Text) != "" {
				images = append(images, r.Text)
			}
		}
	}
	return images
}

// FuzzSameAsKubectl checks that Parse finds each image that kubectl would apply, or returns an
// error that says that the file may be a manifest.
func FuzzSameAsKubectl(f *testing.F) {
	const spec = "spec: {containers: [{name: a, image: 'a:1'}]}\n"
	const jsonPod = `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"a:1"}]}}`
	for _, seed := range []string{
		pod + spec,
		pod + "kind: List\n" + spec,
		"apiVersion: batch/v1\nkind: CronJob\nkind: Job\nspec: {template: " + strings.TrimSpace(spec) + "}\n",
		"apiVersion: kustomize.config.k8s.io/v1\nkind: X\n" + pod + spec,
		"kind:\n" + pod + spec,
		pod + "spec: {}\n" + spec,
		pod + "items:\n- " + strings.ReplaceAll(pod+spec, "\n", "\n  ") + "\n",
		"kind: PodList\napiVersion: v1\nitems: []\n? items\n: - " + spec,
		"kind: List\napiVersion: v1\nitems: [{kind: List, apiVersion: v1, items: [" + jsonPod + "]}]\n",
		pod + "x: &x {image: b:1}\nspec: {containers: [{name: a, image: a:1, <<: *x}]}\n",
		pod + "x: &x {image: b:1}\ny: &y\n  <<: *x\n  image: c:1\n  <<: {image: d:1}\n" +
			"spec: {containers: [{<<: [*x, *y]}, {<<: *x, <<: *y}, {! '<<': *y, image: e:1}]}\n",
		pod + "<<: {" + strings.TrimSpace(spec) + "}\nspec: {}\n",
		pod + "!!merge " + spec, pod + "!!binary c3BlYw==: {containers: [{image: !!binary YToxMg==}]}\n",
		pod + "? !!str spec\n: !!map {containers: !!seq [!local {image: ! \"a:1\"}]}\n",
		pod + "...\n%TAG ! tag:yaml.org,2002:\n---\n" + pod + "spec: {containers: [{image: !binary a}]}\n",
		"null\n---#\n" + jsonPod + "\n", "~\n---\u3000\n" + jsonPod + "\n",
		pod + spec + "---\na: [\n", pod + spec + "\n---x\n", "%YAML 1.1\n---\n" + pod + spec,
		jsonPod, jsonPod + jsonPod + "x", "{}\n" + pod + spec, jsonPod + "\n---\n" + pod + spec,
		jsonPod[:len(jsonPod)-1] + ",}", "{\"a\":\"\xff\\ud800\"," + jsonPod[1:],
		`{"kind":"ConfigMap",` + jsonPod[1:], "\uFEFF" + pod + spec + "# \xff\n",
		"\"\\x6bind\": Pod\n\"api\\\n  Version\": v1\n" + spec + "# \xff\n",
		pod + "x: &x 1\n---\n" + pod + spec + "y: *x\n",
	} {
		f.Add(false, []byte(seed))
		f.Add(true, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, isJSON bool, data []byte) {
		if len(data) > 4096 || bytes.Contains(data, []byte("tagpin:ignore")) {
			return
		}
		name := "f.yaml"
		if isJSON {
			name = "f.json"
		}
		want := applied(data)
		s, err := manifest.Parse(name, data, nil)
		if err != nil {
			if len(want) > 0 && !errors.Is(err, manifest.ErrMayHaveImages) {
				t.Errorf("Parse(%q) = %v, want ErrMayHaveImages because kubectl applies %q", data, err, want)
			}
			return
		}
		var got []string
		for _, o := range s.Objects {
			for _, spec := range o.PodSpecs {
				for _, r := range spec.References {
					got = append(got, r.Text)
				}
			}
		}
		for _, l := range s.Left {
			got = append(got, l.Text)
		}
		for _, image := range want {
			if !slices.Contains(got, image) {
				t.Errorf("Parse(%q) finds %q, want %q too, which kubectl applies", data, got, image)
			}
		}
	})
}
