// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/workload"
)

// jobSets returns a table with JobSets that have pod templates at a path.
func jobSets(t *testing.T, path string) *workload.Table {
	t.Helper()
	table := new(workload.Table)
	if err := table.Add(jobSet, []string{path}, nil); err != nil {
		t.Fatal(err)
	}
	return table
}

func TestScanLists(t *testing.T) {
	table := jobSets(t, "spec.replicatedJobs[*].template.spec.template")
	const template = `{"spec":{"template":{"spec":{"containers":[{"image":"a"}]}}}}`
	o, err := table.Scan(jobSet, []byte(`{"spec":{"replicatedJobs":[{"template":`+template+`},
		{},{"template":`+template+`}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range o.PodSpecs {
		got = append(got, s.References[0].Pointer)
	}
	if !o.Custom || !o.Several || o.Records() != &o.Metadata {
		t.Errorf("Custom = %t, Several = %t, records in %s, want true, true, /metadata",
			o.Custom, o.Several, o.Records().Pointer)
	}
	want := []string{
		"/spec/replicatedJobs/0/template/spec/template/spec/containers/0/image",
		"/spec/replicatedJobs/2/template/spec/template/spec/containers/0/image",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pointers (-want +got):\n%s", diff)
	}
}

// TestScanNamesElements checks that the Key of a pod spec has the names of list elements.
func TestScanNamesElements(t *testing.T) {
	table := jobSets(t, "spec.sets[*].jobs[*].template")
	const job = `"template":{"spec":{"containers":[{"image":"a"}]}}`
	for _, tt := range []struct{ spec, want string }{
		{
			`{"sets":[{"name":"one","jobs":[{` + job + `,"name":"two"}]}]}`,
			"/spec/sets/one/jobs/two/template/spec",
		},
		{
			`{"sets":[{},{"jobs":[{"name":"a/b",` + job + `}],"name":"~"}]}`,
			"/spec/sets/~0/jobs/a~1b/template/spec",
		},
		{`{"sets":[{"jobs":[{},{` + job + `}],"name":"one"}]}`, "/spec/sets/one/jobs/1/template/spec"},
		{`{"sets":[{"name":7,"jobs":[{"name":"",` + job + `}]}]}`, "/spec/sets/0/jobs/0/template/spec"},
	} {
		o, err := table.Scan(jobSet, []byte(`{"spec":`+tt.spec+`}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := o.PodSpecs[0].Key; got != tt.want {
			t.Errorf("Scan(%s): Key = %s, want %s", tt.spec, got, tt.want)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	table := jobSets(t, "spec.template")
	for _, tt := range []struct {
		kind          workload.Kind
		paths, images []string
		want          string
	}{
		{workload.Kind{Group: "g"}, nil, nil, `group "g"`},
		{pod, []string{"spec"}, nil, "of Pod"},
		{jobSet, []string{"spec.template"}, nil, "given twice"},
		{workload.Kind{Kind: "A"}, nil, nil, "of A: no path to a pod template or an image"},
		{workload.Kind{Kind: "B"}, []string{"spec..x"}, nil, "of B"},
		{workload.Kind{Kind: "C"}, []string{"spec[0].x"}, nil, "of C"},
		{workload.Kind{Kind: "D"}, []string{"a", "a.b"}, nil, "of D"},
		{workload.Kind{Kind: "E"}, []string{"a.b", "a"}, nil, "of E"},
		{workload.Kind{Kind: "F"}, []string{""}, nil, "of F"},
		{workload.Kind{Kind: "G"}, []string{"spec.it's"}, nil, "of G"},
		{workload.Kind{Kind: "H"}, nil, []string{"spec.image", "spec.image"}, "of H"},
		{workload.Kind{Kind: "I"}, []string{"spec"}, []string{"spec.image"}, "of I"},
		{workload.Kind{Kind: "J"}, nil, []string{"spec.steps[*].image", "spec.steps[*]"}, "a field, not a list"},
		{workload.Kind{Kind: "K"}, nil, []string{"spec.steps[*]."}, `"" is not a field name`},
		{workload.Kind{Kind: "L"}, nil, []string{"spec.image", "spec"}, "the beginning of another path"},
		{workload.Kind{Kind: "M"}, nil, []string{"metadata.annotations.image"}, "metadata of the object"},
	} {
		err := table.Add(tt.kind, tt.paths, tt.images)
		if !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("Add(%s, %q, %q) = %v, want an error that contains %q",
				tt.kind, tt.paths, tt.images, err, tt.want)
		}
	}
}
