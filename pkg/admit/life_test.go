// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"strings"
	"sync"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/opencontainers/go-digest"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// life is an object that is created, changed and stored, with a handler in front and a registry
// whose tags move.
type life struct {
	t       *testing.T
	kind    string // as the field kind of a review: group/kind
	handler *admit.Handler

	push   string           // what every tag points to
	down   error            // the registry's answer, if not nil
	fails  map[string]error // by the last part of a repository's path: its answer, if not nil
	asked  int
	stored map[string]any
	last   *admissionv1.AdmissionResponse
}

func newLife(t *testing.T, kind string) *life {
	l := &life{t: t, kind: kind, push: "one"}
	var mu sync.Mutex // guards asked, because the lookups of an object run side by side
	resolver := func(_ context.Context, req resolve.Request) (resolve.Result, error) {
		mu.Lock()
		l.asked++
		mu.Unlock()
		if err := l.fails[path.Base(req.Ref.Path())]; err != nil {
			return resolve.Result{}, err
		}
		if l.down != nil {
			return resolve.Result{}, l.down
		}
		return resolve.Result{Digest: l.digest()}, nil
	}
	l.handler = newHandler(t, policy.Enforce, resolve.Func(resolver))
	return l
}

// digest returns the digest that every tag points to now.
func (l *life) digest() digest.Digest { return digestOf(l.push) }

// send sends an object to the handler and, if it is allowed, stores it with the patch.
func (l *life) send(o map[string]any) {
	l.t.Helper()
	operation := "CREATE"
	if l.stored != nil {
		operation = "UPDATE"
	}
	group, kind, _ := strings.Cut(l.kind, "/")
	raw := l.encode(o)
	body := l.encode(map[string]any{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": map[string]any{
		"uid": "u", "operation": operation, "namespace": "n", "kind": map[string]any{"group": group, "kind": kind},
		"object": json.RawMessage(raw), "oldObject": l.stored,
	}})
	r, _ := post(l.t, l.handler, body)
	l.last = r
	if !r.Allowed {
		return
	}
	if r.Patch != nil {
		p, err := jsonpatch.DecodePatch(r.Patch)
		if err != nil {
			l.t.Fatal(err)
		}
		if raw, err = p.Apply(raw); err != nil {
			l.t.Fatalf("patch %s: %v", r.Patch, err)
		}
	}
	l.stored = l.decode(raw)
}

func (l *life) encode(v any) []byte {
	l.t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		l.t.Fatal(err)
	}
	return raw
}

func (l *life) decode(raw []byte) map[string]any {
	l.t.Helper()
	var o map[string]any
	if err := json.Unmarshal(raw, &o); err != nil {
		l.t.Fatal(err)
	}
	return o
}

// change sends the stored object with a change of its template.
func (l *life) change(f func(template map[string]any)) {
	l.t.Helper()
	o := l.copy()
	f(templateOf(o))
	l.send(o)
}

// template returns a copy of the stored template: a revision.
func (l *life) template() map[string]any {
	l.t.Helper()
	return templateOf(l.copy())
}

// annotations returns those of the stored template.
func (l *life) annotations() map[string]string {
	l.t.Helper()
	metadata, _ := l.template()["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	texts := map[string]string{}
	for key, value := range annotations {
		texts[key] = value.(string)
	}
	return texts
}

// undo sends the stored object with the template of a revision.
func (l *life) undo(revision map[string]any) {
	l.t.Helper()
	l.change(func(template map[string]any) {
		clear(template)
		maps.Copy(template, revision)
	})
}

// wantImage checks the stored image of the first container. If pushed is empty, it has no digest.
func (l *life) wantImage(when, text, pushed string) {
	l.t.Helper()
	want := text
	if pushed != "" {
		want += "@" + digestOf(pushed).String()
	}
	if got := l.image(); got != want {
		l.t.Errorf("%s: image = %s, want %s", when, got, want)
	}
}

func (l *life) image() string {
	spec := l.template()["spec"].(map[string]any)
	return spec["containers"].([]any)[0].(map[string]any)["image"].(string)
}

const (
	restartedAt = "kubectl.kubernetes.io/restartedAt"
	refresh     = "tagpin.dev/refresh"
)

// workloadOf returns a manifest that has a template with one container of the image r:1.
// annotations are pairs of a name and a value.
func workloadOf(annotations ...string) map[string]any {
	template := map[string]any{"metadata": map[string]any{}, "spec": map[string]any{
		"containers": []any{map[string]any{"name": "app", "image": "r:1"}},
	}}
	for i := 0; i < len(annotations); i += 2 {
		annotate(template, annotations[i], annotations[i+1])
	}
	return map[string]any{"metadata": map[string]any{"name": "x"}, "spec": map[string]any{"template": template}}
}

func annotate(template map[string]any, key, value string) {
	metadata := template["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	if annotations == nil {
		annotations = map[string]any{}
		metadata["annotations"] = annotations
	}
	annotations[key] = value
}

// mark sets an annotation of the stored template, as kubectl rollout restart does.
func (l *life) mark(marker, value string) {
	l.t.Helper()
	l.change(func(template map[string]any) { annotate(template, marker, value) })
}

// at returns a value of restartedAt: some minutes after noon.
func at(minute int) string { return fmt.Sprintf("2026-01-01T12:%02d:00Z", minute) }

func templateOf(o map[string]any) map[string]any {
	return o["spec"].(map[string]any)["template"].(map[string]any)
}

func specOf(template map[string]any) map[string]any { return template["spec"].(map[string]any) }

func containerOf(template map[string]any, i int) map[string]any {
	return specOf(template)["containers"].([]any)[i].(map[string]any)
}

// copy returns a copy of the stored object.
func (l *life) copy() map[string]any { return l.decode(l.encode(l.stored)) }
