// SPDX-License-Identifier: Apache-2.0

package annotation_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/annotation"
	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	d1 = "@sha256:1111111111111111111111111111111111111111111111111111111111111111"
	d2 = "@sha256:2222222222222222222222222222222222222222222222222222222222222222"
)

// object returns an object that has a pod spec with a container for each image. If shared is true,
// the annotations of all pod specs are in the object's own metadata.
func object(shared bool, pins string, images ...string) *workload.Object {
	metadata := workload.Metadata{Annotations: map[string]string{
		workload.AnnotationPins: pins, workload.AnnotationRefresh: strings.Repeat("x", 1000),
	}}
	o := &workload.Object{Metadata: metadata, Custom: shared, Several: shared}
	for i, image := range images {
		o.PodSpecs = append(o.PodSpecs, workload.PodSpec{
			Key: fmt.Sprint("/", i), Metadata: metadata,
			References: []workload.Reference{{Name: "app", Text: image}},
		})
	}
	return o
}

// TestEntries tests which entries for the container "app" count.
func TestEntries(t *testing.T) {
	for _, tt := range []struct {
		annotation, image, want string
		outdated                bool
	}{
		{`{"app":"nginx:1` + d1 + `"}`, "nginx:1" + d1, "nginx:1" + d1, false},
		{`{"app":"nginx:1` + d1 + `"}`, "nginx" + d1, "nginx:1" + d1, false},
		{`{"app":"nginx:1` + d1 + `"}`, "nginx:2" + d1, "", false},
		{`{"app":"nginx:1` + d1 + `"}`, "a/nginx:1" + d1, "", false},
		{`{"app":"nginx:1` + d1 + `"}`, "nginx:1" + d2, "", true},
		{`{"app":"nginx:1` + d1 + `"}`, "nginx:1", "", false},
		{`{"app":"nginx:1"}`, "nginx:1" + d1, "", false},
		{`{"app":1}`, "nginx:1" + d1, "", false},
		{`{"b":"nginx:1` + d1 + `"}`, "nginx:1" + d1, "", false},
		{`["app"]`, "nginx:1" + d1, "", false},
	} {
		got := annotation.Read(object(false, tt.annotation, tt.image), nil)[0]
		if entry := got.Images[0].Entry.String(); entry != tt.want || got.Outdated != tt.outdated {
			t.Errorf("Read(%s beside %s): entry %q, outdated %t, want %q, %t",
				tt.annotation, tt.image, entry, got.Outdated, tt.want, tt.outdated)
		}
	}
}

// TestSharedAnnotation tests that the keys of pod specs that may share an annotation do not depend
// on how many there are, and that pod specs are paired by their keys.
func TestSharedAnnotation(t *testing.T) {
	pins := `{"/0:app":"a:1` + d1 + `","/1:app":"b:1` + d2 + `","app":"c:1` + d1 + `"}`
	for _, images := range [][]string{{"a:1" + d1}, {"a:1" + d1, "b:1" + d2}} {
		specs := annotation.ReadBoth(object(true, pins, images...), object(true, "", "old:1"),
			[]string{workload.AnnotationRefresh})
		for i, s := range specs {
			want := fmt.Sprintf("/%d:app", i)
			if image := s.Images[0]; image.Key != want || image.Entry.String() != images[i] {
				t.Errorf("Read of %d pod specs: key %s, entry %s, want %s, %s",
					len(images), image.Key, image.Entry, want, images[i])
			}
			if (s.Old != nil) != (i == 0) || (s.Images[0].Old != nil) != (i == 0) {
				t.Errorf("pod spec %d is paired with %v, want only the first one paired", i, s.Old)
			}
			marker := s.Markers[workload.AnnotationRefresh]
			if len(marker) != len("sha256:")+64 {
				t.Errorf("a marker of 1000 bytes is %q, want its hash", marker)
			}
		}
	}
}

// TestUpdate tests which value Update and Set give an annotation, from those of the new and the old
// object.
func TestUpdate(t *testing.T) {
	const encoded, more = `{"<&>":"2","a":"1"}`, `{"a":"1", "<&>":"2", "more":"3"}`
	texts := map[string]string{"a": "1", "<&>": "2"}
	value := func(v string) map[string]string { return map[string]string{"k": v} }
	for _, tt := range []struct {
		now, old    string
		texts       map[string]string
		update, set map[string]string // the changes
	}{
		{"", "", texts, value(encoded), value(encoded)},
		{encoded, "", texts, nil, nil},
		{more, "", texts, nil, value(encoded)},
		{"", `{"a":"1", "<&>":"2"}`, texts, value(`{"a":"1", "<&>":"2"}`), value(`{"a":"1", "<&>":"2"}`)},
		{more, `{"a":"1", "<&>":"2"}`, texts, nil, value(`{"a":"1", "<&>":"2"}`)},
		{`{"a":"1"}`, "junk", texts, value(encoded), value(encoded)},
		{more, "", nil, nil, value("")},
		{"", more, nil, value(more), nil},
		{"", "", nil, nil, nil},
	} {
		changes := func(put func(c *annotation.Changes, m, old *workload.Metadata)) map[string]string {
			m := &workload.Metadata{Annotations: value(tt.now)}
			if tt.now == "" {
				m.Annotations = nil
			}
			var c annotation.Changes
			put(&c, m, &workload.Metadata{Annotations: value(tt.old)})
			for _, change := range c.All {
				if len(change.Values) > 0 {
					return change.Values
				}
			}
			return nil
		}
		got := changes(func(c *annotation.Changes, m, old *workload.Metadata) {
			c.Update(m, old, "k", tt.texts)
		})
		if diff := cmp.Diff(tt.update, got); diff != "" {
			t.Errorf("Update of %q over %q to %v: -want +got\n%s", tt.now, tt.old, tt.texts, diff)
		}
		got = changes(func(c *annotation.Changes, m, old *workload.Metadata) {
			c.Set(m, old, "k", tt.texts)
		})
		if diff := cmp.Diff(tt.set, got); diff != "" {
			t.Errorf("Set of %q over %q to %v: -want +got\n%s", tt.now, tt.old, tt.texts, diff)
		}
	}
}

// TestOmitted tests that an annotation is left out, and removed if it is there, if the API server
// would refuse the object because of it.
func TestOmitted(t *testing.T) {
	long := map[string]string{"a": strings.Repeat("x", 100<<10)}
	var c annotation.Changes
	m := &workload.Metadata{Size: 30 << 10, Annotations: map[string]string{"third": "x"}}
	for _, key := range []string{"first", "second", "third"} {
		c.PutTexts(m, key, long)
	}
	c.PutTexts(m, "fourth", map[string]string{"a": strings.Repeat("x", 130<<10)})
	c.PutTexts(&workload.Metadata{Pointer: "/other"}, "fifth", nil)
	if len(c.All) != 2 || len(c.All[1].Values) != 0 {
		t.Errorf("changes %+v, want none of the other metadata", c.All)
	}
	want := []string{"third", "fourth"}
	if diff := cmp.Diff(want, c.Omitted); diff != "" {
		t.Errorf("omitted: -want +got\n%s", diff)
	}
	got := c.All[0].Values
	third, removed := got["third"]
	if len(got) != 3 || got["first"] == "" || got["second"] == "" || third != "" || !removed {
		t.Errorf("changes of %q, want the first and the second set, and the third removed",
			slices.Sorted(maps.Keys(got)))
	}
}

// TestLargeMarker checks that a long marker of the object is hashed once, and not for each of
// thousands of pod specs.
func TestLargeMarker(t *testing.T) {
	o := &workload.Object{PodSpecs: make([]workload.PodSpec, 10_000)}
	o.Metadata.Annotations = map[string]string{
		workload.AnnotationRefresh: strings.Repeat("x", workload.MaxAnnotations),
	}
	for i := range o.PodSpecs {
		o.PodSpecs[i].Metadata.Pointer = "/template/metadata"
	}
	began := time.Now()
	specs := annotation.Read(o, []string{annotation.OwnRefresh})
	if took := time.Since(began); took > time.Second {
		t.Errorf("Read took %v", took)
	}
	for i := range specs {
		if got := specs[i].Markers[annotation.OwnRefresh]; len(got) != len("sha256:")+64 {
			t.Fatalf("marker = %q, want a hash", got)
		}
	}
}
