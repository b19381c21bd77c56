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

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/pkg/config"
)

// template is a pod template of the image that the verb takes.
const template = `{"metadata":{"labels":{"app":"w"},"annotations":{"note":"the CRD may prune it"}},"spec":{"containers":[{"name":"app","image":%q}]}}`

// specs are the specs of each kind; T stands for a pod template.
func specs() map[string]string {
	return map[string]string{
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

// specOf is the spec of a kind with an image.
func specOf(k kind, image string) string {
	return strings.ReplaceAll(specs()[k.resource], ":T", ":"+fmt.Sprintf(template, image))
}

// kind is one of deploy/templates, as the API server knows it.
type kind struct{ resource, apiVersion, name string }

// kinds are all of deploy/templates. A file that names one without a spec here fails.
func kinds(t *testing.T) []kind {
	t.Helper()
	files, err := filepath.Glob("../../deploy/templates/*.yaml")
	if err != nil || len(files) != len(crds()) {
		t.Fatalf("%d files in deploy/templates, %v, want one for each of the CRDs' projects", len(files), err)
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
			out, _, err := env.RunKubectl(t.Context(), nil, "get", "crd", "-o",
				`jsonpath={range .items[?(@.spec.group=="`+k.Group+`")]}{.spec.names.kind} {.metadata.name} {.spec.versions[?(@.storage==true)].name}{"\n"}{end}`)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for line := range strings.Lines(out) {
				if words := strings.Fields(line); words[0] == k.Kind {
					found = true
					all = append(all, kind{resource: words[1], apiVersion: k.Group + "/" + words[2], name: k.Kind})
				}
			}
			if !found {
				t.Errorf("%s: there is no CRD of %s", file, k.Kind)
			}
		}
	}
	return all
}

// space is a namespace.
type space struct {
	t    *testing.T
	name string
}

func newSpace(t *testing.T, mode string) *space {
	t.Helper()
	ns, err := env.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "k-", Labels: map[string]string{cluster.ModeLabel: mode},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &space{t, ns.Name}
}

func (s *space) push() (reference, digest string) {
	s.t.Helper()
	digest, err := env.Open.PushImage(s.name + ":1")
	if err != nil {
		s.t.Fatal(err)
	}
	return env.Open.Host + "/" + s.name + ":1", digest
}

func (s *space) kubectl(stdin string, args ...string) string {
	s.t.Helper()
	out, _, err := env.RunKubectl(s.t.Context(), strings.NewReader(stdin), append([]string{"-n", s.name}, args...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// object is what the tests look at.
type object struct {
	Metadata struct {
		Generation  int
		Annotations map[string]string
	}
	text string
}

// apply applies an object of a kind and returns what is stored.
func (s *space) apply(k kind, annotations, spec string, flags ...string) object {
	s.t.Helper()
	manifest := fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":"w","annotations":{%s}},"spec":%s}`, k.apiVersion, k.name, annotations, spec)
	out := s.kubectl(manifest, append([]string{"apply", "-f", "-", "-o", "json"}, flags...)...)
	o := object{text: out}
	if err := json.Unmarshal([]byte(out), &o); err != nil {
		s.t.Fatal(err)
	}
	return o
}

// wantImages compares how often a text is an image's, whole.
func (o object) wantImages(t *testing.T, when string, n int, text string) {
	t.Helper()
	if got := strings.Count(o.text, `"image": "`+text+`"`); got != n {
		t.Errorf("%s: %s is the image %d times, want %d", when, text, got, n)
	}
}

// TestKinds has each kind created, applied again with a moved tag, by client and by server, and refreshed.
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
	n := strings.Count(specs()[k.resource], ":T")
	if n == 0 {
		t.Fatalf("no spec of %s to try", k.resource)
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
		t.Errorf("applied again with %d look-ups, want none", got)
	}
	const marker = `"tagpin.dev/refresh":"a"`
	refreshed := s.apply(k, marker, spec, how...)
	refreshed.wantImages(t, "refreshed", n, reference+"@"+second)
	s.push()
	again = s.apply(k, marker, spec, how...)
	again.wantImages(t, "refreshed, then applied again", n, reference+"@"+second)
	if again.Metadata.Generation != refreshed.Metadata.Generation {
		t.Errorf("refreshed, then applied again: generation %d, want %d", again.Metadata.Generation, refreshed.Metadata.Generation)
	}
}

// TestSpared counts the calls for a pinned object of each kind, in each mode: none.
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
			before := metric(t, reviews)
			s.live(c, k, specOf(k, reference))
			if got := metric(t, reviews) - before; got != 0 {
				t.Errorf("%s, pinned, in %s: %v reviews, want none", k.resource, mode, got)
			}
		}
	}
}

// live creates, annotates and deletes an object.
func (s *space) live(c client.Client, k kind, spec string) {
	s.t.Helper()
	o := &unstructured.Unstructured{}
	text := fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":"w","namespace":%q},"spec":%s}`, k.apiVersion, k.name, s.name, spec)
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

func metric(t *testing.T, name string) float64 {
	t.Helper()
	n, err := env.Tagpin.Metric(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestElementsMove has an element put before others: those keep their pins, and the new one gets the same answer.
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
	o.wantImages(t, "with another before it", 2, reference+"@"+digest)
	if got := env.Open.Lookups(s.name) - asked; got != 0 {
		t.Errorf("%d look-ups, want none", got)
	}
	pins := map[string]string{}
	if err := json.Unmarshal([]byte(o.Metadata.Annotations["tagpin.dev/pins"]), &pins); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		key := "/spec/replicatedJobs/" + name + "/template/spec/template/spec:app"
		if got, want := pins[key], reference+"@"+digest; got != want {
			t.Errorf("the pin of %s = %q, want %s", key, got, want)
		}
	}
}
