// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// newTask returns a life of a Task, whose images are outside of pod templates.
func newTask(t *testing.T) *life {
	l := newLife(t, "tekton.dev/Task")
	l.handler.Table = new(workload.Table)
	kind := workload.Kind{Group: "tekton.dev", Kind: "Task"}
	images := []string{"spec.steps[*].image", "spec.sidecars[*].image"}
	if err := l.handler.Table.Add(kind, nil, images); err != nil {
		t.Fatal(err)
	}
	return l
}

// taskOf returns a Task with steps, each a name and an image, and annotations in pairs of a name
// and a value.
func taskOf(steps []string, annotations ...string) map[string]any {
	o := map[string]any{"metadata": map[string]any{"name": "t"}}
	for i := 0; i < len(annotations); i += 2 {
		annotate(o, annotations[i], annotations[i+1])
	}
	var list []any
	for _, s := range steps {
		name, image, _ := strings.Cut(s, " ")
		list = append(list, map[string]any{"name": name, "image": image})
	}
	o["spec"] = map[string]any{"steps": list}
	return o
}

// wantSteps checks the stored images. In want, @ and a name stand for the digest of that push.
func (l *life) wantSteps(when string, want ...string) {
	l.t.Helper()
	steps := l.stored["spec"].(map[string]any)["steps"].([]any)
	for i, s := range steps {
		text, pushed, ok := strings.Cut(want[i], "@")
		if ok {
			text += "@" + digestOf(pushed).String()
		}
		if got := s.(map[string]any)["image"]; got != text {
			l.t.Errorf("%s: image of step %d = %s, want %s", when, i, got, text)
		}
	}
}

// annotation returns an annotation of the stored object.
func (l *life) annotation(name string) string {
	annotations, _ := l.stored["metadata"].(map[string]any)["annotations"].(map[string]any)
	text, _ := annotations[name].(string)
	return text
}

// TestImageFields applies the rules of pinning to images outside of pod templates.
func TestImageFields(t *testing.T) {
	l := newTask(t)
	l.send(taskOf([]string{"a r:1", "b r:2"}))
	l.wantSteps("created", "r:1@one", "r:2@one")
	pins := fmt.Sprintf(`{"/spec/steps/a/image":"r:1@%[1]s","/spec/steps/b/image":"r:2@%[1]s"}`, l.digest())
	if got := l.annotation(workload.AnnotationPins); got != pins {
		t.Errorf("created: pins = %s, want %s", got, pins)
	}
	before := maps.Clone(l.stored)
	l.push = "two"
	asked := l.asked
	l.send(taskOf([]string{"a r:1", "b r:2"}))
	l.wantSteps("applied again", "r:1@one", "r:2@one")
	if l.asked != asked || string(l.encode(l.stored)) != string(l.encode(before)) {
		t.Errorf("applied again: %d lookups, stored %v, want none, %v", l.asked-asked, l.stored, before)
	}
	l.send(taskOf([]string{"new r:3", "b r:2", "a r:1"}))
	l.wantSteps("another order, and a new step", "r:3@two", "r:2@one", "r:1@one")
	if got := l.last.Warnings; len(got) != 2 ||
		!strings.Contains(got[0], `field "/spec/steps/b/image": r:2 kept at sha256:`) ||
		!strings.HasSuffix(got[0], "though the object has changed; to resolve it anew: change the object's annotation tagpin.dev/refresh") {
		t.Errorf("another order: warnings = %q, want two that say how to refresh", got)
	}
	l.send(taskOf([]string{"b r:2", "a r:1"}, refresh, "x"))
	l.wantSteps("refreshed", "r:2@two", "r:1@two")
	l.push = "three"
	l.send(taskOf([]string{"b r:2", "a r:1"}, refresh, "x"))
	l.wantSteps("refreshed, then applied again", "r:2@two", "r:1@two")
	author := "r:2@" + digestOf("author").String()
	l.send(taskOf([]string{"b " + author}, refresh, "y"))
	l.wantSteps("pinned by its author", "r:2@author")
	long := "s {{" + strings.Repeat("x", 2000) + "}}"
	l.send(taskOf([]string{"p $(params.image)", "q $(params.host)/x:1", long}))
	if len(l.last.Warnings) != 0 || l.last.Patch != nil && strings.Contains(string(l.last.Patch), "replace") {
		t.Errorf("variables: warnings %q, patch %s, want neither", l.last.Warnings, l.last.Patch)
	}
}

// TestImageFieldsModes has the modes that change no image.
func TestImageFieldsModes(t *testing.T) {
	l := newTask(t)
	l.handler.Mode = policy.Propose
	l.send(taskOf([]string{"a r:1"}))
	l.wantSteps("dry-run", "r:1")
	want := fmt.Sprintf(`{"/spec/steps/a/image":"r:1@%s"}`, l.digest())
	if got := l.annotation(workload.AnnotationProposedPins); got != want {
		t.Errorf("proposals = %s, want %s", got, want)
	}
	l.handler.Mode = policy.Enforce
	l.send(taskOf([]string{"a r:2"}))
	l.wantSteps("enforce", "r:2@one")
	if got := l.annotation(workload.AnnotationProposedPins); got != "" {
		t.Errorf("enforce: proposals = %s, want none", got)
	}
	l.handler.Mode = policy.Keep
	l.send(taskOf([]string{"a r:2", "b r:3"}))
	l.wantSteps("keep", "r:2@one", "r:3")
}

// TestImageFieldsFail has each class of failure, for the object's own service account and for its
// pull secrets.
func TestImageFieldsFail(t *testing.T) {
	for class, want := range map[failure.Class]string{
		failure.NotFound:     `field "/spec/steps/a/image": can't pin r:1: `,
		failure.Invalid:      "ask the registry's operator",
		failure.Unavailable:  "admitted as it is; its pods wait until the image resolves",
		failure.Unauthorized: `or give the service account "runner" an image pull secret`,
	} {
		l := newTask(t)
		l.down = class
		o := taskOf([]string{"a r:1"})
		o["spec"].(map[string]any)["serviceAccountName"] = "runner"
		l.send(o)
		message := strings.Join(l.last.Warnings, "\n")
		denied := class == failure.NotFound || class == failure.Invalid
		if denied && !l.last.Allowed {
			message = l.last.Result.Message
		}
		if l.last.Allowed == denied || !strings.Contains(message, want) {
			t.Errorf("%v: allowed %t, message %q, want denied %t, %q", class, l.last.Allowed, message, denied, want)
		}
	}
	l := newTask(t)
	l.down = failure.NotFound // without an account, it may be a private image
	l.send(taskOf([]string{"a r:1"}))
	if !l.last.Allowed || !strings.Contains(strings.Join(l.last.Warnings, "\n"), "admitted as it is") {
		t.Errorf("without an account: allowed %t, warnings %q", l.last.Allowed, l.last.Warnings)
	}
	if got, want := strings.Join(l.last.Warnings, "\n"), `give the service account "default"`; !strings.Contains(got, want) {
		t.Errorf("without an account: warnings %q, want %s", got, want)
	}
	l = newTask(t)
	l.down = failure.NotFound
	l.handler.OnFailure = failure.Actions{
		failure.NotFound: failure.Allow, failure.Unauthorized: failure.Deny,
	}
	l.send(taskOf([]string{"a r:1"}))
	if !l.last.Allowed {
		t.Errorf("onFailure allows what is not found: denied with %q", l.last.Result.Message)
	}
	l = newTask(t)
	l.down = failure.Unauthorized
	o := taskOf([]string{"a r:1"})
	o["spec"].(map[string]any)["imagePullSecrets"] = []any{map[string]any{"name": "s"}}
	l.send(o)
	const want = "check the image's name and the object's imagePullSecrets"
	if got := strings.Join(l.last.Warnings, "\n"); !strings.Contains(got, want) {
		t.Errorf("with pull secrets: warnings %q, want %s", got, want)
	}
}
