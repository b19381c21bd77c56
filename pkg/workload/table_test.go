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
	if err := table.Add(jobSet, path); err != nil {
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
		kind  workload.Kind
		paths []string
		want  string
	}{
		{workload.Kind{Group: "g"}, nil, `group "g"`},
		{pod, []string{"spec"}, "of Pod"},
		{jobSet, []string{"spec.template"}, "given twice"},
		{workload.Kind{Kind: "A"}, nil, "of A"},
		{workload.Kind{Kind: "B"}, []string{"spec..x"}, "of B"},
		{workload.Kind{Kind: "C"}, []string{"spec[0].x"}, "of C"},
		{workload.Kind{Kind: "D"}, []string{"a", "a.b"}, "of D"},
		{workload.Kind{Kind: "E"}, []string{"a.b", "a"}, "of E"},
		{workload.Kind{Kind: "F"}, []string{""}, "of F"},
		{workload.Kind{Kind: "G"}, []string{"spec.it's"}, "of G"},
	} {
		err := table.Add(tt.kind, tt.paths...)
		if !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("Add(%s, %q) = %v, want an error that contains %q", tt.kind, tt.paths, err, tt.want)
		}
	}
}
