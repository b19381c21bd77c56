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

// noImage are string fields called image, or ending so, that hold no reference of an image that a kubelet pulls.
var noImage = []string{
	"rbd.image", // a RADOS block device
}

// TestTableHasEveryKind walks the types of every built-in kind, and fails on a pod spec that a scan does not find and on an
// image field of a pod spec that is not among the places.
func TestTableHasEveryKind(t *testing.T) {
	table := &workload.Table{}
	with := 0
	for gvk, typ := range scheme.Scheme.AllKnownTypes() {
		if strings.HasSuffix(gvk.Kind, "List") || gvk.Version == "__internal" {
			continue
		}
		paths := podSpecs(typ, nil, nil)
		if len(paths) == 0 {
			continue
		}
		with++
		for _, path := range paths {
			checkKind(t, table, gvk, path)
		}
	}
	if with < 9 {
		t.Errorf("%d kinds with a pod spec, want at least the 9 of the table: does the walk work?", with)
	}
}

// legacy are groups whose kinds were moved to another one, and that no API server serves any more.
var legacy = []string{"extensions"}

func checkKind(t *testing.T, table *workload.Table, gvk schema.GroupVersionKind, path []string) {
	t.Helper()
	kind := workload.Kind{Group: gvk.Group, Kind: gvk.Kind}
	if slices.Contains(legacy, gvk.Group) {
		return
	}
	if !table.Known(kind) {
		t.Errorf("%s has a pod spec at %v, and the table does not know it", gvk, path)
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
	if len(o.PodSpecs) != 1 || len(o.PodSpecs[0].References) != 1 || o.PodSpecs[0].References[0].Pointer != want {
		t.Errorf("%s: scan found %+v, want a reference at %s", gvk, o.PodSpecs, want)
	}
}

// podSpecs gives the paths of pod specs in a type.
func podSpecs(typ reflect.Type, path []string, seen []reflect.Type) [][]string {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	switch {
	case typ == reflect.TypeFor[corev1.PodSpec]():
		return [][]string{slices.Clone(path)}
	case typ.Kind() != reflect.Struct || slices.Contains(seen, typ) || typ == reflect.TypeFor[metav1.ObjectMeta]():
		return nil
	}
	var found [][]string
	for f := range fields(typ) {
		found = append(found, podSpecs(f.typ, append(path, f.name...), append(seen, typ))...)
	}
	return found
}

type field struct {
	name []string // empty where the field is inlined
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

// TestTableHasEveryPlace puts a text in each string field of a pod spec that is called image, or is in a struct called
// image, and expects the scan to find it.
func TestTableHasEveryPlace(t *testing.T) {
	var found []string
	imageFields(reflect.TypeFor[corev1.PodSpec](), nil, nil, &found)
	slices.Sort(found)
	want := []string{
		"containers.image", "ephemeralContainers.image", "initContainers.image",
		"volumes.image.reference", "volumes.rbd.image",
	}
	for _, path := range found {
		if !slices.Contains(want, path) {
			t.Errorf("PodSpec.%s: a new place of an image? teach the scan, or say here that it is none", path)
		}
	}
	for _, path := range want {
		if !slices.Contains(found, path) {
			t.Errorf("PodSpec.%s is gone; found %v", path, found)
		}
	}
	for _, path := range want {
		raw := fmt.Sprintf(`{"spec":%s}`, nest(strings.Split(path, "."), "x:1"))
		o, err := new(workload.Table).Scan(workload.Kind{Kind: "Pod"}, []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		n := len(o.PodSpecs[0].References)
		if isNone := slices.ContainsFunc(noImage, func(s string) bool { return strings.HasSuffix(path, s) }); isNone == (n == 1) {
			t.Errorf("scan of %s found %d references", raw, n)
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
