// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/tagpin/tagpin/pkg/workload"
)

// otherImages are string fields of a pod spec whose names end with "image" although they are not
// references of images that a kubelet pulls.
var otherImages = []string{
	"volumes.rbd.image", // a RADOS block device
}

// TestTableHasEveryKind looks for pod specs in the types of all kinds of Kubernetes, and fails if
// Scan does not find one of them.
func TestTableHasEveryKind(t *testing.T) {
	table := &workload.Table{}
	kinds := 0
	for gvk, typ := range scheme.Scheme.AllKnownTypes() {
		if strings.HasSuffix(gvk.Kind, "List") || gvk.Version == "__internal" {
			continue
		}
		paths := podSpecs(typ, nil, nil)
		if len(paths) == 0 {
			continue
		}
		kinds++
		for _, path := range paths {
			checkKind(t, table, gvk, path)
		}
	}
	if kinds < 9 {
		t.Errorf("found %d kinds with a pod spec, want at least the 9 kinds of the table", kinds)
	}
}

// legacy are groups that API servers do not serve anymore. Their kinds were moved to other groups.
var legacy = []string{"extensions"}

func checkKind(t *testing.T, table *workload.Table, gvk schema.GroupVersionKind, path []string) {
	t.Helper()
	kind := workload.Kind{Group: gvk.Group, Kind: gvk.Kind}
	if slices.Contains(legacy, gvk.Group) {
		return
	}
	if !table.Known(kind) {
		t.Errorf("%s has a pod spec at %v, but the table does not have the kind", gvk, path)
		return
	}
	var spec any = map[string]any{"containers": []any{map[string]any{"name": "c", "image": "i:1"}}}
	for _, step := range slices.Backward(path) {
		spec = map[string]any{step: spec}
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	o, err := table.Scan(kind, raw)
	if err != nil {
		t.Errorf("%s: %v", gvk, err)
		return
	}
	want := "/" + strings.Join(path, "/") + "/containers/0/image"
	var got []string
	for i := range o.PodSpecs {
		for _, r := range o.PodSpecs[i].References {
			got = append(got, r.Pointer)
		}
	}
	if !slices.Equal(got, []string{want}) {
		t.Errorf("%s: Scan found references at %v, want one at %s", gvk, got, want)
	}
}

// podSpecs returns the paths of all pod specs in a type.
func podSpecs(typ reflect.Type, path []string, seen []reflect.Type) [][]string {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	switch {
	case typ == reflect.TypeFor[corev1.PodSpec]():
		return [][]string{slices.Clone(path)}
	case typ.Kind() != reflect.Struct || slices.Contains(seen, typ) ||
		typ == reflect.TypeFor[metav1.ObjectMeta]():
		return nil
	}
	var found [][]string
	for f := range fields(typ) {
		found = append(found, podSpecs(f.typ, append(path, f.name...), append(seen, typ))...)
	}
	return found
}

type field struct {
	name []string // empty if the field is inlined
	typ  reflect.Type
}

func fields(typ reflect.Type) func(func(field) bool) {
	return func(yield func(field) bool) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			out := field{typ: f.Type}
			if name != "" {
				out.name = []string{name}
			}
			if name != "-" && !yield(out) {
				return
			}
		}
	}
}

// TestScanFindsEveryImageField looks for image fields in the type of a pod spec: string fields
// whose names end with "image" and the fields of structs with that name. It fails if Scan does not
// find one of them.
func TestScanFindsEveryImageField(t *testing.T) {
	var found []string
	imageFields(reflect.TypeFor[corev1.PodSpec](), nil, nil, &found)
	slices.Sort(found)
	want := append([]string{"volumes.image.reference"}, otherImages...)
	for _, list := range workload.ContainerLists {
		want = append(want, list+".image")
	}
	for _, path := range found {
		if !slices.Contains(want, path) {
			t.Errorf("PodSpec.%s is a new image field: if it is a reference, change what pkg/README.md "+
				"lists for such a field; otherwise add it to otherImages", path)
		}
	}
	for _, path := range want {
		if !slices.Contains(found, path) {
			t.Errorf("PodSpec has no field %s; its image fields are %v", path, found)
		}
	}
	for _, path := range want {
		raw := fmt.Sprintf(`{"spec":%s}`, nest(strings.Split(path, "."), "x:1"))
		o, err := new(workload.Table).Scan(workload.Kind{Kind: "Pod"}, []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		wantN := 1
		if slices.Contains(otherImages, path) {
			wantN = 0
		}
		if n := len(o.PodSpecs[0].References); n != wantN {
			t.Errorf("Scan(%s) found %d references, want %d", raw, n, wantN)
		}
	}
}

func nest(path []string, text string) string {
	if len(path) == 0 {
		return fmt.Sprintf("%q", text)
	}
	inner := fmt.Sprintf(`{%q:%s}`, path[0], nest(path[1:], text))
	if list := strings.HasSuffix(path[0], "ontainers") || path[0] == "volumes"; list {
		inner = fmt.Sprintf(`{%q:[%s]}`, path[0], nest(path[1:], text))
	}
	return inner
}

func imageFields(typ reflect.Type, path []string, seen []reflect.Type, found *[]string) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	last := ""
	if len(path) > 0 {
		last = strings.ToLower(path[len(path)-1])
	}
	inImage := len(path) > 1 && strings.EqualFold(path[len(path)-2], "image") && last != "pullpolicy"
	switch {
	case typ.Kind() == reflect.String && (strings.HasSuffix(last, "image") || inImage):
		*found = append(*found, strings.Join(path, "."))
	case typ.Kind() == reflect.Struct && !slices.Contains(seen, typ):
		for f := range fields(typ) {
			imageFields(f.typ, append(path, f.name...), append(seen, typ), found)
		}
	}
}
