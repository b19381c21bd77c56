// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/e2e/clustertest"
)

var task = kind{apiVersion: "tekton.dev/v1", name: "Task"}

// steps returns the spec of a Task with a script and, for each pair of a name and an image, a step.
func steps(script string, pairs ...string) string {
	var list []string
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, fmt.Sprintf(`{"name":%q,"image":%q,"script":%q}`, pairs[i], pairs[i+1], script))
	}
	return `{"steps":[` + strings.Join(list, ",") + `]}`
}

// texts decodes an annotation of tagpin.
func (o object) texts(t *testing.T, annotation string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	if err := json.Unmarshal([]byte(o.Metadata.Annotations[annotation]), &texts); err != nil {
		t.Errorf("%s: %v", annotation, err)
	}
	return texts
}

// TestImageFields changes a Task in the ways in which people do, while its tag moves.
func TestImageFields(t *testing.T) {
	s := newSpace(t, "enforce")
	reference, first := s.push()
	pinned := reference + "@" + first
	o := s.apply(task, "", steps("one", "build", reference))
	o.wantImages(t, "created", 1, pinned)
	want := map[string]string{"/spec/steps/build/image": pinned}
	if diff := cmp.Diff(want, o.texts(t, "tagpin.dev/pins")); diff != "" {
		t.Errorf("created: pins (-want +got):\n%s", diff)
	}
	_, second := s.push()
	asked := env.Open.Lookups(s.name)
	o = s.apply(task, "", steps("two", "build", reference))
	o.wantImages(t, "with another script", 1, pinned)
	o = s.apply(task, "", steps("two", "new", reference, "build", reference))
	o.wantImages(t, "with another step before it", 2, pinned)
	patched := clustertest.Kubectl(t, env, "", "-n", s.name, "patch", "task", "w", "-o", "json",
		"--type=json", "-p", `[{"op":"add","path":"/spec/description","value":"edited"}]`)
	object{text: patched}.wantImages(t, "edited", 2, pinned)
	if got := env.Open.Lookups(s.name) - asked; got != 0 {
		t.Errorf("%d lookups after the tag moved, want none", got)
	}
	o = s.apply(task, `"tagpin.dev/refresh":"a"`, steps("two", "new", reference, "build", reference))
	o.wantImages(t, "refreshed", 2, reference+"@"+second)
	author := reference + "@sha256:" + strings.Repeat("1", 64)
	o = s.apply(task, `"tagpin.dev/refresh":"b"`, steps("two", "build", author))
	o.wantImages(t, "pinned by its author", 1, author)
}

// TestImageFieldsWarn has the warning for a pin that is kept while the object changes otherwise,
// and none for a text with a variable.
func TestImageFieldsWarn(t *testing.T) {
	s := newSpace(t, "enforce")
	reference, _ := s.push()
	apply := func(spec string) string {
		manifest := fmt.Sprintf(`{"apiVersion":"tekton.dev/v1","kind":"Task","metadata":{"name":"w"},"spec":%s}`, spec)
		_, warnings, err := env.RunKubectl(t.Context(), strings.NewReader(manifest), "-n", s.name, "apply", "-f", "-")
		if err != nil {
			t.Error(err)
		}
		return warnings
	}
	if got := apply(steps("one", "build", reference, "param", "$(params.image)")); got != "" {
		t.Errorf("created: %s, want no warning", got)
	}
	want := `field "/spec/steps/build/image": ` + reference + " kept at sha256:"
	got := apply(steps("two", "build", reference, "param", "$(params.image)"))
	if !strings.Contains(got, want) || !strings.Contains(got, "though the object has changed") {
		t.Errorf("with another script: %s, want the warning %s", got, want)
	}
}

// TestImageFieldsDryRun has proposals in the mode dry-run, which changes no image.
func TestImageFieldsDryRun(t *testing.T) {
	s := newSpace(t, "dry-run")
	reference, digest := s.push()
	o := s.apply(task, "", steps("one", "build", reference))
	o.wantImages(t, "dry-run", 1, reference)
	want := map[string]string{"/spec/steps/build/image": reference + "@" + digest}
	if diff := cmp.Diff(want, o.texts(t, "tagpin.dev/proposed-pins")); diff != "" {
		t.Errorf("proposals (-want +got):\n%s", diff)
	}
}

// TestImageFieldsDenied has an image that the registry does not have, in enforce and in keep. An
// object that names no account is admitted, because the image may be there for that of its pods.
func TestImageFieldsDenied(t *testing.T) {
	image := env.Open.Host + "/no/such:1"
	named := fmt.Sprintf(`{"apiVersion":"argoproj.io/v1alpha1","kind":"WorkflowTemplate",
		"metadata":{"name":"w"},"spec":{"serviceAccountName":"default",
		"templates":[{"name":"build","container":{"image":%q}}]}}`, image)
	unnamed := fmt.Sprintf(`{"apiVersion":"tekton.dev/v1","kind":"Task","metadata":{"name":"w"},"spec":%s}`,
		steps("one", "build", image))
	create := func(mode, manifest string) (warnings string, err error) {
		_, warnings, err = env.RunKubectl(t.Context(), strings.NewReader(manifest),
			"-n", newSpace(t, mode).name, "create", "-f", "-")
		return warnings, err
	}
	want := `field "/spec/templates/build/container/image": can't pin `
	if _, err := create("enforce", named); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("enforce: %v, want a denial with %s", err, want)
	}
	if _, err := create("keep", named); err != nil {
		t.Errorf("keep: %v", err)
	}
	want = `field "/spec/steps/build/image": can't pin `
	if warnings, err := create("enforce", unnamed); err != nil || !strings.Contains(warnings, want) {
		t.Errorf("without an account: %v, warnings %q, want %s", err, warnings, want)
	}
}

// TestOddImageFields creates objects of a kind without a schema. Values that are not those that the
// paths lead to make no condition fail, and the one image is pinned.
func TestOddImageFields(t *testing.T) {
	s := newSpace(t, "enforce")
	reference, digest := s.push()
	workflow := kind{apiVersion: "argoproj.io/v1alpha1", name: "WorkflowTemplate"}
	for _, odd := range []string{
		`null`, `"a:1"`, `{"container":{"image":"a:1"}}`, `[null,"a:1",7,["a:1"]]`,
		`[{"container":null},{"container":"a:1"},{"container":["a:1"]}]`,
		`[{"container":{"image":7}},{"container":{"image":null}},{"script":{"image":{"image":"a:1"}}}]`,
		`[{"name":7,"container":{"name":["x"],"image":""}}]`,
	} {
		s.apply(workflow, "", `{"templates":`+odd+`}`)
		if odd[0] == '[' {
			odd = fmt.Sprintf(`[{"name":"a","container":{"image":%q}},`, reference) + odd[1:]
			o := s.apply(workflow, "", `{"templates":`+odd+`}`)
			o.wantImages(t, odd, 1, reference+"@"+digest)
		}
		clustertest.Kubectl(t, env, "", "-n", s.name, "delete", "workflowtemplate", "w")
	}
}

// TestManyImageFields checks that the conditions stay within the cost that the API server allows.
func TestManyImageFields(t *testing.T) {
	s := newSpace(t, "enforce")
	reference, digest := s.push()
	pairs := []string{"build", reference}
	for i := range 4000 {
		pairs = append(pairs, fmt.Sprint("s", i), reference+"@"+digest)
	}
	spec := steps("x", pairs...)
	for _, k := range []kind{task, {apiVersion: "tekton.dev/v1", name: "Pipeline"}} {
		if k.name == "Pipeline" {
			spec = `{"tasks":[{"name":"t","taskSpec":` + spec + `}]}`
		}
		for _, script := range []string{"one", "two"} {
			changed := strings.Replace(spec, `"script":"x"`, fmt.Sprintf(`"script":%q`, script), 1)
			o := s.apply(k, "", changed, "--server-side")
			o.wantImages(t, k.name+" "+script, 4001, reference+"@"+digest)
		}
	}
}
