// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// TestScanLongest checks that Scan keeps texts of the maximum length, and shortens longer ones so
// that different texts stay different.
func TestScanLongest(t *testing.T) {
	doc := func(name, image, pins string, secrets int) string {
		metadata := `"metadata":{"annotations":{"tagpin.dev/pins":"` + pins + `"}}`
		return `{` + metadata + `,"spec":{"template":{` + metadata + `,"spec":{
			"serviceAccountName":"` + name + `",
			"imagePullSecrets":[` + strings.Repeat(`{"name":"s"},`, secrets) + `{}],
			"containers":[{"name":"` + name + `","image":"` + image + `"}]}}}}`
	}
	name, image := strings.Repeat("n", 253), strings.Repeat("i", ref.MaxLength)
	pins := strings.Repeat("p", workload.MaxAnnotations)
	for _, o := range []*workload.Object{
		scan(t, deployment, doc(name, image, pins, 64)),
		scan(t, deployment, doc(strings.Repeat(`\u006e`, 253), image, pins, 64)),
	} {
		spec := o.PodSpecs[0]
		r := spec.References[0]
		id := workload.Identity{ServiceAccount: name, PullSecrets: slices.Repeat([]string{"s"}, 64)}
		if r.Name != name || r.Text != image || !spec.Identity.Equal(id) {
			t.Errorf("reference %+v of %+v, want texts of the maximum length unchanged", r, spec.Identity)
		}
		for _, m := range []workload.Metadata{o.Metadata, spec.Metadata} {
			if got := m.Annotations[workload.AnnotationPins]; got != pins {
				t.Errorf("%s: annotation of %d bytes, want all %d", m.Pointer, len(got), len(pins))
			}
		}
	}
	one := scan(t, deployment, doc(name+"1", image+"1", pins+pins+"1", 200)).PodSpecs[0]
	two := scan(t, deployment, doc(name+"2", image+"2", pins+pins+"2", 200)).PodSpecs[0]
	a, b := one.References[0], two.References[0]
	if a.Name == b.Name || a.Text == b.Text || len(a.Text) <= ref.MaxLength {
		t.Errorf("references %+v and %+v, want different names and texts that are too long", a, b)
	}
	if n := len(one.Identity.PullSecrets); n != workload.MaxPullSecrets+1 {
		t.Errorf("%d pull secrets of 200, want %d", n, workload.MaxPullSecrets+1)
	}
	before := one.Metadata.Annotations[workload.AnnotationPins]
	after := two.Metadata.Annotations[workload.AnnotationPins]
	if before == after || max(len(before), len(a.Text)) > 2*ref.MaxLength {
		t.Errorf("annotations of %d and %d bytes, want short and different ones",
			len(before), len(after))
	}
}

// TestTooManyReferences checks the limit on images and pod templates in one object.
func TestTooManyReferences(t *testing.T) {
	table := jobSets(t, "spec.jobs[*].template")
	list := func(element string, n int) string { return strings.Repeat(element+",", n-1) + element }
	for name, tt := range map[string]struct {
		kind workload.Kind
		doc  func(n int) string
	}{
		"containers": {pod, func(n int) string {
			return `{"spec":{"containers":[` + list(`{"image":"a"}`, n) + `]}}`
		}},
		"volumes": {pod, func(n int) string {
			return `{"spec":{"volumes":[` + list(`{"image":{"reference":"a"}}`, n) + `]}}`
		}},
		"templates": {jobSet, func(n int) string {
			return `{"spec":{"jobs":[` + list(`{"template":{"spec":{}}}`, n) + `]}}`
		}},
	} {
		if _, err := table.Scan(tt.kind, []byte(tt.doc(workload.MaxReferences))); err != nil {
			t.Errorf("Scan of %d %s = %v, want no error", workload.MaxReferences, name, err)
		}
		_, err := table.Scan(tt.kind, []byte(tt.doc(workload.MaxReferences+1)))
		if !errors.Is(err, workload.ErrTooManyReferences) {
			t.Errorf("Scan of %d %s = %v, want ErrTooManyReferences",
				workload.MaxReferences+1, name, err)
		}
	}
}
