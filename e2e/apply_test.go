// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// deployment is a manifest. The verb takes the image.
const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: app
        image: %s
`

// stored holds the parts of an object with a template that the tests compare.
type stored struct {
	Metadata struct {
		Generation  int
		Annotations map[string]string
	}
	Spec struct {
		Template struct {
			Metadata struct{ Annotations map[string]string }
			Spec     struct {
				Containers []struct{ Name, Image string }
			}
		}
	}
}

func (s *stored) image() string { return s.Spec.Template.Spec.Containers[0].Image }

// wantGeneration checks the generation, which a change of the template increases.
func (s *stored) wantGeneration(t *testing.T, want int) {
	t.Helper()
	if got := s.Metadata.Generation; got != want {
		t.Errorf("generation = %d, want %d", got, want)
	}
}

func parse(t *testing.T, text string) *stored {
	t.Helper()
	var o stored
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return &o
}

func get(t *testing.T, ns, name string) *stored {
	t.Helper()
	return parse(t, kubectl(t, "", "-n", ns, "get", name, "-o", "json"))
}

// TestForgedDeletion creates objects that claim to be under deletion. A server-side apply keeps
// that until tagpin and its conditions have seen the object, but it is not stored. The objects are
// pinned like all others.
func TestForgedDeletion(t *testing.T) {
	reference, digest := push(t, env.Open, repository(t)+":1")
	ns := newNamespace(t, "enforce")
	manifest := strings.Replace(fmt.Sprintf(deployment, reference),
		"name: web", "name: web, deletionTimestamp: 2020-01-01T00:00:00Z", 1)
	for _, verb := range [][]string{{"apply", "--server-side"}, {"apply"}} {
		kubectl(t, manifest, append([]string{"-n", ns, "-f", "-"}, verb...)...)
		wantImage(t, strings.Join(verb, " "), get(t, ns, "deployment/web").image(), reference, digest)
		kubectl(t, "", "-n", ns, "delete", "deployment/web")
	}
}

// TestAppliedAgain applies one manifest again after its tag has moved. Nothing changes, however it
// is applied. A new object gets the new digest.
func TestAppliedAgain(t *testing.T) {
	for _, tt := range []struct {
		name         string
		first, again []string
	}{
		{"client side", []string{"apply"}, []string{"apply"}},
		{"server side", []string{"apply", "--server-side"}, []string{"apply", "--server-side"}},
		{"replaced", []string{"create"}, []string{"replace"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tag := repository(t) + ":1"
			reference, digest := push(t, env.Open, tag)
			manifest := fmt.Sprintf(deployment, reference)
			send := func(ns, manifest string, verb []string) *stored {
				t.Helper()
				kubectl(t, manifest, append([]string{"-n", ns, "-f", "-"}, verb...)...)
				return get(t, ns, "deployment/web")
			}
			ns := newNamespace(t, "enforce")
			before := send(ns, manifest, tt.first)
			wantImage(t, "image", before.image(), reference, digest)
			_, moved := push(t, env.Open, tag)
			asked := env.Open.Manifests()
			after := send(ns, manifest, tt.again)
			wantImage(t, "image after another apply", after.image(), reference, digest)
			after.wantGeneration(t, before.Metadata.Generation)
			other := send(ns, strings.ReplaceAll(manifest, "name: app\n", "name: app\n        tty: true\n"), tt.again)
			wantImage(t, "image after another change", other.image(), reference, digest)
			if got := env.Open.Manifests() - asked; got != 0 {
				t.Errorf("%d lookups for pinned images, want none", got)
			}
			fresh := send(newNamespace(t, "enforce"), manifest, tt.first)
			wantImage(t, "image of a new object", fresh.image(), reference, moved)
		})
	}
}

// TestUnrecordedPinAppliedAgain applies a manifest without the digest that its former version had.
// tagpin has not written that digest, and puts it back. Nothing is rolled out in any mode.
func TestUnrecordedPinAppliedAgain(t *testing.T) {
	for _, mode := range []string{"enforce", "keep", "dry-run"} {
		for _, verb := range [][]string{{"apply"}, {"apply", "--server-side"}, {"replace"}} {
			t.Run(mode+" "+strings.Join(verb, " "), func(t *testing.T) {
				ns, tag := newNamespace(t, mode), repository(t)+":1"
				reference, digest := push(t, env.Open, tag)
				first := verb
				if verb[0] == "replace" {
					first = []string{"create"}
				}
				template := func() string {
					return kubectl(t, "", "-n", ns, "get", "deployment/web", "-o", "jsonpath={.spec.template}")
				}
				pinned := fmt.Sprintf(deployment, reference+"@"+digest)
				kubectl(t, pinned, append([]string{"-n", ns, "-f", "-"}, first...)...)
				before := template()
				push(t, env.Open, tag)
				for range 2 {
					kubectl(t, fmt.Sprintf(deployment, reference), append([]string{"-n", ns, "-f", "-"}, verb...)...)
					if after := template(); after != before {
						t.Errorf("template without the digest = %s, want %s", after, before)
					}
				}
			})
		}
	}
}

// TestJobAppliedAgain applies a Job again, whose template can't be changed and must therefore stay
// the same.
func TestJobAppliedAgain(t *testing.T) {
	ns, tag := newNamespace(t, "enforce"), repository(t)+":1"
	reference, digest := push(t, env.Open, tag)
	// kubectl 1.30 takes a text that begins with a brace for JSON.
	manifest := "apiVersion: batch/v1\nkind: Job\nmetadata: {name: web}\nspec: {template: {spec: " +
		`{restartPolicy: Never, containers: [{name: app, image: "` + reference + `"}]}}}`
	kubectl(t, manifest, "-n", ns, "apply", "-f", "-")
	push(t, env.Open, tag)
	kubectl(t, manifest, "-n", ns, "apply", "-f", "-")
	wantImage(t, "image", get(t, ns, "job/web").image(), reference, digest)
}

// TestNewTag changes the tag to that of another image.
func TestNewTag(t *testing.T) {
	ns := newNamespace(t, "enforce")
	one, _ := push(t, env.Open, repository(t)+":1")
	two, digest := push(t, env.Open, repository(t)+":2")
	kubectl(t, fmt.Sprintf(deployment, one), "-n", ns, "apply", "-f", "-")
	kubectl(t, "", "-n", ns, "set", "image", "deployment/web", "app="+two)
	o := get(t, ns, "deployment/web")
	wantImage(t, "image", o.image(), two, digest)
	if got, want := o.Spec.Template.Metadata.Annotations["tagpin.dev/pins"], `{"app":"`+two+"@"+digest+`"}`; got != want {
		t.Errorf("tagpin.dev/pins = %s, want %s", got, want)
	}
}

// TestSecondApplier shows a limit: the API server detects the conflict before it calls webhooks.
// With force the pin still stays.
func TestSecondApplier(t *testing.T) {
	ns := newNamespace(t, "enforce")
	reference, digest := push(t, env.Open, repository(t)+":1")
	manifest := fmt.Sprintf(deployment, reference)
	apply := func(manager string, more ...string) error {
		args := append([]string{
			"-n", ns, "apply", "--server-side", "--field-manager=" + manager, "-f", "-",
		}, more...)
		_, _, err := env.RunKubectl(t.Context(), strings.NewReader(manifest), args...)
		return err
	}
	if err := apply("one"); err != nil {
		t.Fatal(err)
	}
	push(t, env.Open, repository(t)+":1")
	err := apply("two")
	if err == nil || !strings.Contains(err.Error(), "Apply failed with 1 conflict") ||
		!strings.Contains(err.Error(), ".image") {
		t.Errorf("second apply = %v, want a conflict on .image", err)
	}
	if err := apply("two", "--force-conflicts"); err != nil {
		t.Fatal(err)
	}
	if err := apply("one", "--force-conflicts"); err != nil {
		t.Fatal(err)
	}
	o := get(t, ns, "deployment/web")
	wantImage(t, "image", o.image(), reference, digest)
	o.wantGeneration(t, 1)
}

// TestServerDryRun checks that a dry run shows the pin, and leaves nothing behind.
func TestServerDryRun(t *testing.T) {
	ns := newNamespace(t, "enforce")
	reference, digest := push(t, env.Open, repository(t)+":1")
	manifest := fmt.Sprintf(deployment, reference)
	for _, side := range []string{"--server-side=false", "--server-side=true"} {
		text := kubectl(t, manifest, "-n", ns, "apply", "--dry-run=server", side, "-f", "-", "-o", "json")
		wantImage(t, "image with "+side, parse(t, text).image(), reference, digest)
	}
	if out := kubectl(t, "", "-n", ns, "get", "deployments", "-o", "name"); out != "" {
		t.Errorf("stored Deployments = %s, want none", out)
	}
	kubectl(t, manifest, "-n", ns, "apply", "-f", "-")
	before := get(t, ns, "deployment/web")
	two, second := push(t, env.Open, repository(t)+":2")
	text := kubectl(t, "", "-n", ns, "set", "image", "deployment/web", "app="+two, "--dry-run=server", "-o", "json")
	wantImage(t, "image in the dry run", parse(t, text).image(), two, second)
	after := get(t, ns, "deployment/web")
	wantImage(t, "image", after.image(), reference, digest)
	after.wantGeneration(t, before.Metadata.Generation)
}
