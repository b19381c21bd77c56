// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/pkg/config"
)

// template is a pod template. The verb takes the image.
const template = `{"metadata":{"labels":{"app":"w"},"annotations":{"note":"the CRD may prune it"}},` +
	`"spec":{"containers":[{"name":"app","image":%q}]}}`

// specs returns the spec of each kind, where T stands for a pod template and I for an image.
func specs() map[string]string {
	const (
		task     = `{"stepTemplate":{"image":I},"steps":[{"name":"a","image":I},{"name":"b","image":I}],"sidecars":[{"name":"a","image":I}]}`
		workflow = `{"entrypoint":"a","templates":[{"name":"a","container":{"image":I},"initContainers":[{"name":"i","image":I}],"sidecars":[{"name":"s","image":I}]},{"name":"b","script":{"image":I,"source":"x"}},{"name":"c","containerSet":{"containers":[{"name":"d","image":I}]}}]}`
		operated = `{"image":I,"containers":[{"name":"c","image":I}],"initContainers":[{"name":"i","image":I}]}`
	)
	return map[string]string{
		"tasks.tekton.dev":                          task,
		"stepactions.tekton.dev":                    `{"image":I}`,
		"pipelines.tekton.dev":                      `{"tasks":[{"name":"t","taskSpec":` + task + `}],"finally":[{"name":"f","taskSpec":` + task + `}]}`,
		"workflowtemplates.argoproj.io":             workflow,
		"cronworkflows.argoproj.io":                 `{"schedule":"0 0 * * *","workflowSpec":` + workflow + `}`,
		"prometheuses.monitoring.coreos.com":        strings.TrimSuffix(operated, "}") + `,"thanos":{"image":I}}`,
		"prometheusagents.monitoring.coreos.com":    operated,
		"alertmanagers.monitoring.coreos.com":       operated,
		"thanosrulers.monitoring.coreos.com":        operated,
		"rollouts.argoproj.io":                      `{"selector":{"matchLabels":{"app":"w"}},"template":T}`,
		"jobsets.jobset.x-k8s.io":                   `{"replicatedJobs":[{"name":"one","template":{"spec":{"template":T}}},{"name":"two","template":{"spec":{"template":T}}}]}`,
		"leaderworkersets.leaderworkerset.x-k8s.io": `{"leaderWorkerTemplate":{"leaderTemplate":T,"workerTemplate":T}}`,
		"clonesets.apps.kruise.io":                  `{"selector":{"matchLabels":{"app":"w"}},"template":T}`,
		"statefulsets.apps.kruise.io":               `{"selector":{"matchLabels":{"app":"w"}},"template":T}`,
		"daemonsets.apps.kruise.io":                 `{"selector":{"matchLabels":{"app":"w"}},"template":T}`,
		"broadcastjobs.apps.kruise.io":              `{"template":T}`,
		"advancedcronjobs.apps.kruise.io":           `{"schedule":"0 0 * * *","template":{"jobTemplate":{"spec":{"template":T}}}}`,
		"uniteddeployments.apps.kruise.io":          `{"selector":{"matchLabels":{"app":"w"}},"template":{"cloneSetTemplate":{"metadata":{"labels":{"app":"w"}},"spec":{"selector":{"matchLabels":{"app":"w"}},"template":T}}}}`,
		"services.serving.knative.dev":              `{"template":T}`,
		"configurations.serving.knative.dev":        `{"template":T}`,
	}
}

// specOf returns the spec of a kind with an image.
func specOf(k kind, image string) string {
	return strings.NewReplacer(":T", ":"+fmt.Sprintf(template, image), ":I", fmt.Sprintf(":%q", image)).
		Replace(specs()[k.resource])
}

// kind is a kind in deploy/templates, as the API server knows it.
type kind struct{ resource, apiVersion, name string }

// kinds returns all kinds in deploy/templates.
func kinds(t *testing.T) []kind {
	t.Helper()
	files, err := filepath.Glob("../../deploy/templates/*.yaml")
	if err != nil || len(files) != len(crds()) {
		t.Fatalf("%d files in deploy/templates, %v, want one for each module in crds", len(files), err)
	}
	var all []kind
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse(append([]byte("apiVersion: tagpin.dev/v1alpha1\nkind: Config\n"), text...))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, k := range c.Templates {
			out := clustertest.Kubectl(t, env, "", "get", "crd", "-o",
				`jsonpath={range .items[?(@.spec.group=="`+k.Group+`")]}`+
					`{.spec.names.kind} {.metadata.name} `+
					`{.spec.versions[?(@.storage==true)].name}{"\n"}{end}`)
			found := false
			for line := range strings.Lines(out) {
				if words := strings.Fields(line); words[0] == k.Kind {
					found = true
					all = append(all, kind{resource: words[1], apiVersion: k.Group + "/" + words[2], name: k.Kind})
				}
			}
			if !found {
				t.Errorf("%s: the CRDs lack %s", file, k.Kind)
			}
		}
	}
	return all
}

// space is a namespace of a test, with a repository of the same name.
type space struct {
	t    *testing.T
	name string
}

func newSpace(t *testing.T, mode string) *space {
	t.Helper()
	labels := map[string]string{cluster.ModeLabel: mode}
	return &space{t, clustertest.NewNamespace(t, env.Client, "k-", labels)}
}

func (s *space) push() (reference, digest string) {
	s.t.Helper()
	return clustertest.Push(s.t, env.Open, s.name+":1")
}

// object holds the parts of an object that the tests compare.
type object struct {
	Metadata struct {
		Generation  int
		Annotations map[string]string
	}
	text string
}

// apply applies an object of a kind and returns the stored object.
func (s *space) apply(k kind, annotations, spec string, flags ...string) object {
	s.t.Helper()
	manifest := fmt.Sprintf(
		`{"apiVersion":%q,"kind":%q,"metadata":{"name":"w","annotations":{%s}},"spec":%s}`,
		k.apiVersion, k.name, annotations, spec)
	out := clustertest.Kubectl(s.t, env, manifest,
		append([]string{"-n", s.name, "apply", "-f", "-", "-o", "json"}, flags...)...)
	o := object{text: out}
	if err := json.Unmarshal([]byte(out), &o); err != nil {
		s.t.Fatal(err)
	}
	return o
}

// wantImages checks that n images equal text.
func (o object) wantImages(t *testing.T, when string, n int, text string) {
	t.Helper()
	if got := strings.Count(o.text, `"image": "`+text+`"`); got != n {
		t.Errorf("%s: %d images are %s, want %d", when, got, text, n)
	}
}

// TestKinds creates an object of each kind, moves the tag, and applies the object again, by client
// and by server, without and with a refresh.
func TestKinds(t *testing.T) {
	for _, k := range kinds(t) {
		for _, how := range [][]string{nil, {"--server-side"}} {
			t.Run(k.resource+strings.Join(how, ""), func(t *testing.T) { testKind(t, k, how) })
		}
	}
}

func testKind(t *testing.T, k kind, how []string) {
	s := newSpace(t, "enforce")
	reference, first := s.push()
	n := strings.Count(specs()[k.resource], ":T") + strings.Count(specs()[k.resource], ":I")
	if n == 0 {
		t.Fatalf("specs has no spec of %s", k.resource)
	}
	spec := specOf(k, reference)
	created := s.apply(k, "", spec, how...)
	created.wantImages(t, "created", n, reference+"@"+first)
	_, second := s.push()
	asked := env.Open.Lookups(s.name)
	again := s.apply(k, "", spec, how...)
	again.wantImages(t, "applied again", n, reference+"@"+first)
	if again.Metadata.Generation != created.Metadata.Generation {
		t.Errorf("applied again: generation %d, want %d", again.Metadata.Generation, created.Metadata.Generation)
	}
	if got := env.Open.Lookups(s.name) - asked; got != 0 {
		t.Errorf("applied again: %d lookups, want none", got)
	}
	const marker = `"tagpin.dev/refresh":"a"`
	refreshed := s.apply(k, marker, spec, how...)
	refreshed.wantImages(t, "refreshed", n, reference+"@"+second)
	s.push()
	again = s.apply(k, marker, spec, how...)
	again.wantImages(t, "refreshed, then applied again", n, reference+"@"+second)
	if again.Metadata.Generation != refreshed.Metadata.Generation {
		t.Errorf("refreshed, then applied again: generation %d, want %d",
			again.Metadata.Generation, refreshed.Metadata.Generation)
	}
}

// TestSpared counts the reviews for a pinned object of each kind in each mode. There must be none.
func TestSpared(t *testing.T) {
	const reviews = "tagpin_admission_reviews_total"
	reference := "r.example/app:1@sha256:" + strings.Repeat("1", 64)
	c, err := client.New(env.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds(t) {
		for _, mode := range []string{"enforce", "dry-run", "keep"} {
			s := newSpace(t, mode)
			before := clustertest.Metric(t, env.Tagpin, reviews)
			s.live(c, k, specOf(k, reference))
			if got := clustertest.Metric(t, env.Tagpin, reviews) - before; got != 0 {
				t.Errorf("%v reviews of a pinned object of %s in the mode %s, want none", got, k.resource, mode)
			}
		}
	}
}

// live creates, updates and deletes an object.
func (s *space) live(c client.Client, k kind, spec string) {
	s.t.Helper()
	o := &unstructured.Unstructured{}
	text := fmt.Sprintf(
		`{"apiVersion":%q,"kind":%q,"metadata":{"name":"w","namespace":%q},"spec":%s}`,
		k.apiVersion, k.name, s.name, spec)
	if err := o.UnmarshalJSON([]byte(text)); err != nil {
		s.t.Fatal(err)
	}
	if err := c.Create(s.t.Context(), o); err != nil {
		s.t.Fatal(err)
	}
	o.SetAnnotations(map[string]string{"new": "annotation"})
	if err := errors.Join(c.Update(s.t.Context(), o), c.Delete(s.t.Context(), o)); err != nil {
		s.t.Fatal(err)
	}
}

// TestElementsMove puts a list element before another one. The other one keeps its pin, and the new
// one gets the same digest.
func TestElementsMove(t *testing.T) {
	s := newSpace(t, "enforce")
	k := kind{apiVersion: "jobset.x-k8s.io/v1alpha2", name: "JobSet"}
	reference, digest := s.push()
	element := func(name string) string {
		return fmt.Sprintf(`{"name":%q,"template":{"spec":{"template":`+template+`}}}`, name, reference)
	}
	s.apply(k, "", `{"replicatedJobs":[`+element("two")+`]}`)
	s.push()
	asked := env.Open.Lookups(s.name)
	o := s.apply(k, "", `{"replicatedJobs":[`+element("one")+`,`+element("two")+`]}`)
	o.wantImages(t, "with another element before it", 2, reference+"@"+digest)
	if got := env.Open.Lookups(s.name) - asked; got != 0 {
		t.Errorf("%d lookups, want none", got)
	}
	pins := map[string]string{}
	if err := json.Unmarshal([]byte(o.Metadata.Annotations["tagpin.dev/pins"]), &pins); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		key := "/spec/replicatedJobs/" + name + "/template/spec/template/spec:app"
		if got, want := pins[key], reference+"@"+digest; got != want {
			t.Errorf("pin of %s = %q, want %s", key, got, want)
		}
	}
}
