// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/workload"
)

var task = workload.Kind{Group: "tekton.dev", Kind: "Task"}

// tasks returns a table with Tasks that have images at some paths.
func tasks(t testing.TB, images ...string) *workload.Table {
	t.Helper()
	table := new(workload.Table)
	if err := table.Add(task, nil, images); err != nil {
		t.Fatal(err)
	}
	return table
}

// tektonPaths are the paths of the images in a Task.
var tektonPaths = []string{
	"spec.steps[*].image", "spec.sidecars[*].image", "spec.stepTemplate.image",
}

func scanTask(t testing.TB, spec string, paths ...string) *workload.Object {
	t.Helper()
	raw := `{"metadata":{"name":"t"},"spec":` + spec + `}`
	o, err := tasks(t, paths...).Scan(task, []byte(raw))
	if err != nil {
		t.Fatalf("Scan(%s): %v", raw, err)
	}
	return o
}

func TestScanImageFields(t *testing.T) {
	got := scanTask(t, `{"serviceAccountName":"sa","imagePullSecrets":[{"name":"s"}],
		"stepTemplate":{"image":"t:1","imagePullPolicy":"Never"},
		"steps":[{"name":"build","image":"b:1"},{"image":"c:1"},{"image":"n:1","name":"x/y",
			"imagePullPolicy":"Never"},{"name":"none"}],
		"sidecars":[{"name":"build","image":""}]}`, tektonPaths...)
	want := []workload.PodSpec{{
		Identity: workload.Identity{ServiceAccount: "sa", PullSecrets: []string{"s"}},
		References: []workload.Reference{
			{Name: "/spec/stepTemplate/image", Pointer: "/spec/stepTemplate/image", Text: "t:1", Never: true},
			{Name: "/spec/steps/build/image", Pointer: "/spec/steps/0/image", Text: "b:1"},
			{Name: "/spec/steps/1/image", Pointer: "/spec/steps/1/image", Text: "c:1"},
			{Name: "/spec/steps/x~1y/image", Pointer: "/spec/steps/2/image", Text: "n:1", Never: true},
			{Name: "/spec/sidecars/build/image", Pointer: "/spec/sidecars/0/image"},
		},
	}}
	ignoreHash := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Hash" }, cmp.Ignore())
	if diff := cmp.Diff(want, got.PodSpecs, ignoreHash); diff != "" {
		t.Errorf("Scan (-want +got):\n%s", diff)
	}
	if !got.Custom || got.Records() != &got.Metadata {
		t.Errorf("Custom = %t, records in %s, want true, /metadata", got.Custom, got.Records().Pointer)
	}
}

// TestImageFieldNames checks that the names of images have those of all lists around them, and
// differ even if elements have the same name.
func TestImageFieldNames(t *testing.T) {
	path := "spec.tasks[*].taskSpec.steps[*].image"
	step := func(fields string) string { return `{"image":"a"` + fields + `}` }
	for spec, want := range map[string]string{
		`[{"name":"t","taskSpec":{"steps":[` + step(`,"name":"s"`) + `]}}]`: "/t/taskSpec/steps/s",
		`[{},{"taskSpec":{"steps":[` + step(``) + `]}}]`:                    "/1/taskSpec/steps/0",
		`[{"name":"t","taskSpec":{"steps":[` + step(`,"name":"s"`) + `,` + step(`,"name":"s"`) + `]}}]`: "/t/taskSpec/steps/s " +
			"/spec/tasks/t/taskSpec/steps/s/image#2",
		`[{"taskSpec":{"steps":[` + step(`,"name":7`) + `]},"name":"a~/"}]`: "/a~0~1/taskSpec/steps/0",
	} {
		var names []string
		for _, r := range scanTask(t, `{"tasks":`+spec+`}`, path).PodSpecs[0].References {
			names = append(names, r.Name)
		}
		first, rest, _ := strings.Cut(want, " ")
		want = strings.TrimSpace("/spec/tasks" + first + "/image " + rest)
		if got := strings.Join(names, " "); got != want {
			t.Errorf("Scan(%s): names %s, want %s", spec, got, want)
		}
	}
}

// TestOddImageFields scans values where images are expected that are no images. They are no errors.
func TestOddImageFields(t *testing.T) {
	for _, spec := range []string{
		`null`, `7`, `[]`, `"x"`, `{}`, `{"steps":null}`, `{"steps":{"image":"a"}}`, `{"steps":"a"}`,
		`{"steps":[null,"a",7,["a"],{}]}`, `{"steps":[{"image":null},{"image":7},{"image":["a"]}]}`,
		`{"steps":[{"image":{"image":"a"}}]}`, `{"stepTemplate":[{"image":"a"}]}`, `{"image":"a"}`,
	} {
		if o := scanTask(t, spec, tektonPaths...); len(o.PodSpecs) != 0 {
			t.Errorf("Scan(%s) = %+v, want no images", spec, o.PodSpecs)
		}
	}
}

// TestImagesBesideTemplates has a kind with pod templates, and images outside of them.
func TestImagesBesideTemplates(t *testing.T) {
	table := new(workload.Table)
	if err := table.Add(task, []string{"spec.jobs[*].template"}, []string{"spec.image", "image"}); err != nil {
		t.Fatal(err)
	}
	raw := `{"image":"r:1","spec":{"serviceAccountName":"out","image":"s:1","jobs":[{"name":"j",
		"template":{"spec":{"serviceAccountName":"in","containers":[{"name":"c","image":"c:1"}]}}}]}}`
	o, err := table.Scan(task, []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range o.PodSpecs {
		for _, r := range s.References {
			got = append(got, strings.Join([]string{s.Key, s.Identity.ServiceAccount, r.Name, r.Pointer}, " "))
		}
	}
	want := []string{
		"/spec/jobs/j/template/spec in c /spec/jobs/0/template/spec/containers/0/image",
		" out /image /image", " out /spec/image /spec/image",
	}
	if diff := cmp.Diff(want, got); diff != "" || !o.Several {
		t.Errorf("several = %t, images (-want +got):\n%s", o.Several, diff)
	}
}

// TestHashOfImageFields checks which changes of an object change the hash of its images.
func TestHashOfImageFields(t *testing.T) {
	hash := func(rest string) uint64 {
		raw := `{"metadata":{"name":"a"` + rest
		o, err := tasks(t, tektonPaths...).Scan(task, []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		return o.PodSpecs[0].Hash
	}
	want := hash(`},"spec":{"x":1,"steps":[{"image":"a"}],"y":2},"status":{"a":1}}`)
	for _, same := range []string{
		`,"labels":{"a":"b"}},"spec":{"x":1,"steps":[{"image":"b@c"}],"y":2},"status":{"a":2}}`,
		`},"spec":{"x":1,"steps":[{"image":"b"}],"y":2}}`,
	} {
		if hash(same) != want {
			t.Errorf("%s: another hash, want the same", same)
		}
	}
	for _, other := range []string{
		`},"spec":{"x":2,"steps":[{"image":"a"}],"y":2}}`,
		`},"spec":{"x":1,"steps":[{"image":"a"}],"y":3}}`,
		`},"spec":{"x":1,"steps":[{"image":"a","script":"s"}],"y":2}}`,
		`},"spec":{"x":1,"steps":[{"image":"a"}],"y":2},"more":{}}`,
	} {
		if hash(other) == want {
			t.Errorf("%s: the same hash, want another", other)
		}
	}
}

// TestTooManyImageFields checks the limit on images outside of pod templates.
func TestTooManyImageFields(t *testing.T) {
	doc := func(n int) []byte {
		steps := strings.Repeat(`{"name":"s","image":"a"},`, n-1) + `{"image":"a"}`
		return fmt.Appendf(nil, `{"spec":{"steps":[%s]}}`, steps)
	}
	table := tasks(t, tektonPaths...)
	if _, err := table.Scan(task, doc(workload.MaxReferences)); err != nil {
		t.Errorf("Scan of %d images = %v, want no error", workload.MaxReferences, err)
	}
	_, err := table.Scan(task, doc(workload.MaxReferences+1))
	if !errors.Is(err, workload.ErrTooManyReferences) {
		t.Errorf("Scan of %d images = %v, want ErrTooManyReferences", workload.MaxReferences+1, err)
	}
}

// TestImageFieldAllocations limits the allocations for a step, so that a large object costs no more
// than a pod with as many containers.
func TestImageFieldAllocations(t *testing.T) {
	const n = 1000
	var steps []string
	for i := range n {
		steps = append(steps, fmt.Sprintf(`{"name":"step-%d","image":"a:1","script":"echo"}`, i))
	}
	raw := []byte(`{"spec":{"steps":[` + strings.Join(steps, ",") + `]}}`)
	table := tasks(t, tektonPaths...)
	got := testing.AllocsPerRun(5, func() {
		if _, err := table.Scan(task, raw); err != nil {
			t.Fatal(err)
		}
	})
	if most := 12.0 * n; got > most {
		t.Errorf("Scan of %d steps = %.0f allocations, want at most %.0f", n, got, most)
	}
}

// TestIdentityBelowSpec checks that the account of images is also read from an object on the way to
// them, and not from an element of a list. An account there makes it a guess.
func TestIdentityBelowSpec(t *testing.T) {
	got := scanTask(t, `{"workflowSpec":{"serviceAccountName":"sa","imagePullSecrets":[{"name":"s"}],
		"templates":[{"serviceAccountName":"no","container":{"image":"c:1","name":"c"}}]}}`,
		"spec.workflowSpec.templates[*].container.image")
	want := workload.Identity{ServiceAccount: "sa", PullSecrets: []string{"s"}}
	if id := got.PodSpecs[0].Identity; !id.Equal(want) {
		t.Errorf("Identity = %+v, want %+v", id, want)
	}
	for spec, want := range map[string]bool{
		`{"steps":[{"image":"a"}]}`:                                                           true,
		`{"serviceAccountName":"sa","steps":[{"image":"a"}]}`:                                 false,
		`{"serviceAccountName":"sa","steps":[{"image":"a","serviceAccountName":""}]}`:         false,
		`{"serviceAccountName":"sa","steps":[{"image":"a"},{"serviceAccountName":"puller"}]}`: true,
	} {
		if got := scanTask(t, spec, tektonPaths...).PodSpecs[0].GuessesIdentity(); got != want {
			t.Errorf("GuessesIdentity of %s = %t, want %t", spec, got, want)
		}
	}
}
