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
	"github.com/tagpin/tagpin/pkg/workload"
)

// life is an object that is created, changed and stored, with a handler in front, and a registry
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
	var mu sync.Mutex // guards asked: an object's look-ups are side by side
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

// digest is what the tags point to now.
func (l *life) digest() digest.Digest { return digestOf(l.push) }

// send sends an object to be stored, and stores it with the patch.
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
	o := l.decode(l.encode(l.stored))
	f(o["spec"].(map[string]any)["template"].(map[string]any))
	l.send(o)
}

// template is a copy of the stored one: a revision.
func (l *life) template() map[string]any {
	l.t.Helper()
	return l.decode(l.encode(l.stored))["spec"].(map[string]any)["template"].(map[string]any)
}

// undo sends the stored object with the template of a revision.
func (l *life) undo(revision map[string]any) {
	l.t.Helper()
	l.change(func(template map[string]any) {
		clear(template)
		maps.Copy(template, revision)
	})
}

// wantImage compares the stored image of the first container.
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

// workloadOf is a manifest with a template of one container, of r:1, and annotations of the
// template in pairs.
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

// mark changes a marker of the stored template, as kubectl rollout restart does.
func (l *life) mark(marker, value string) {
	l.t.Helper()
	l.change(func(template map[string]any) { annotate(template, marker, value) })
}

// Each revision of a workload runs its own digest, through restarts, undo, and the undo of the
// undo.
func TestRestartAndUndo(t *testing.T) {
	for _, kind := range []string{"apps/Deployment", "apps/StatefulSet", "apps/DaemonSet"} {
		for _, marker := range []string{restartedAt, refresh} {
			t.Run(kind+" "+marker, func(t *testing.T) {
				l := newLife(t, kind)
				l.send(workloadOf())
				l.wantImage("created", "r:1", "one")
				first := l.template()
				l.push = "two"
				l.mark(marker, "a")
				l.wantImage("refreshed", "r:1", "two")
				second := l.template()
				l.push = "three"
				l.mark(marker, "b")
				l.wantImage("refreshed again", "r:1", "three")
				third := l.template()
				asked := l.asked
				for i, revision := range []map[string]any{second, third, first, second, first, third} {
					l.undo(revision)
					if got, want := string(l.encode(l.template())), string(l.encode(revision)); got != want {
						t.Errorf("undo %d: the template is\n%s, want\n%s", i, got, want)
					}
				}
				if l.asked != asked {
					t.Errorf("undone with %d look-ups, want none", l.asked-asked)
				}
				l.push = "four"
				l.mark(marker, "c")
				l.wantImage("refreshed after undo", "r:1", "four")
			})
		}
	}
}

// A marker that a manifest had from its beginning is recorded with its pins: to undo its first
// change is no refresh.
func TestMarkerFromTheBeginning(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.send(workloadOf(refresh, "c1"))
	first := l.template()
	l.push = "two"
	l.send(workloadOf(refresh, "c2"))
	l.wantImage("another commit", "r:1", "two")
	l.push = "three"
	l.undo(first)
	l.wantImage("undone", "r:1", "one")
	l.send(workloadOf(refresh, "c1"))
	l.wantImage("the same manifest again", "r:1", "one")
}

// The same manifest again, which knows nothing of what tagpin and kubectl added, changes nothing.
func TestRefreshedThenApplied(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.send(workloadOf(refresh, "c1"))
	l.push = "two"
	l.send(workloadOf(refresh, "c2"))
	before := string(l.encode(l.stored))
	l.push = "three"
	asked := l.asked
	l.send(workloadOf(refresh, "c2"))
	if got := string(l.encode(l.stored)); got != before || l.asked != asked {
		t.Errorf("applied again, %d look-ups:\n%s, want none and\n%s", l.asked-asked, got, before)
	}
	l.send(workloadOf())
	l.wantImage("without the marker", "r:1", "two")
	l.send(workloadOf(refresh, ""))
	l.wantImage("with an empty one", "r:1", "two")
}

// What its author pinned, exempted or never pulls does not move.
func TestRefreshLeaves(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	o := workloadOf()
	containers := []any{
		map[string]any{"name": "app", "image": "r:1"},
		map[string]any{"name": "author", "image": "r:1@" + digestOf("author").String()},
		map[string]any{"name": "never", "image": "r:1", "imagePullPolicy": "Never"},
		map[string]any{"name": "blank"},
		map[string]any{"name": "bad", "image": "r@junk"},
		// A name of 64 hexadecimal digits is one before a digest alone.
		map[string]any{"name": "hex", "image": strings.Repeat("a", 64) + "@" + digestOf("author").String()},
	}
	o["spec"].(map[string]any)["template"].(map[string]any)["spec"] = map[string]any{"containers": containers}
	annotate(o["spec"].(map[string]any)["template"].(map[string]any), "tagpin.dev/pins",
		fmt.Sprintf(`{"hex":%q}`, containers[5].(map[string]any)["image"]))
	l.send(o)
	want := strings.ReplaceAll(string(l.encode(l.template()["spec"])), digestOf("one").String(), digestOf("two").String())
	l.push = "two"
	l.mark(restartedAt, "now")
	if got := string(l.encode(l.template()["spec"])); got != want {
		t.Errorf("refreshed: spec =\n%s, want\n%s", got, want)
	}
}

// What has been there before tagpin is pinned when it is restarted: its pods are new anyway.
func TestRefreshPinsTheOld(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.stored = workloadOf()
	l.change(func(template map[string]any) { template["unrelated"] = "edit" })
	l.wantImage("edited", "r:1", "")
	l.mark(restartedAt, "now")
	l.wantImage("restarted", "r:1", "one")
}

// A manifest that is sent again without what tagpin wrote is no other template: nobody is warned.
func TestSentAgainAfterRestart(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.send(workloadOf(refresh, "a"))
	l.send(workloadOf(refresh, "b"))
	l.send(workloadOf(refresh, "b"))
	if len(l.last.Warnings) > 0 {
		t.Errorf("warnings = %q, want none", l.last.Warnings)
	}
}

// What a person is told to do can be done: kubectl restarts three kinds, and a CRD may prune the
// metadata of its templates.
func TestHowToRefresh(t *testing.T) {
	for kind, want := range map[string]string{
		"apps/Deployment": "anew: kubectl rollout restart, or change the pod template's annotation tagpin.dev/refresh",
		"apps/ReplicaSet": "anew: change the pod template's annotation tagpin.dev/refresh",
		"batch/Job":       "anew: make a new Job",
		"g/Custom":        "anew: change the object's annotation tagpin.dev/refresh",
	} {
		l := newLife(t, kind)
		table, err := workload.NewTable(workload.Template{Group: "g", Kind: "Custom", Paths: []string{"spec.template"}})
		if err != nil {
			t.Fatal(err)
		}
		l.handler.Table = table
		l.send(workloadOf())
		changed := workloadOf()
		changed["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["hostNetwork"] = true
		l.send(changed)
		if len(l.last.Warnings) != 1 || !strings.HasSuffix(l.last.Warnings[0], want) {
			t.Errorf("%s: warnings = %q, want %q", kind, l.last.Warnings, want)
		}
	}
}

// Pods and Jobs are never refreshed, and the template of a Job stays as it is.
func TestNoRefresh(t *testing.T) {
	l := newLife(t, "batch/Job")
	l.send(workloadOf(refresh, "a"))
	before := string(l.encode(l.template()))
	l.push = "two"
	l.mark(refresh, "b")
	l.wantImage("a Job", "r:1", "one")
	l.send(workloadOf(refresh, "a"))
	if got := string(l.encode(l.template())); got != before {
		t.Errorf("a Job applied again: template =\n%s, want\n%s", got, before)
	}
	l = newLife(t, "apps/Deployment")
	l.handler.Pinner.Policy.IgnoreRestart = true
	l.send(workloadOf())
	l.push = "two"
	l.mark(restartedAt, "a")
	l.wantImage("refreshOnRestart: false", "r:1", "one")
	l.mark(refresh, "a")
	l.wantImage("refreshed", "r:1", "two")
}

// Modes that make no pins do not refresh them.
func TestRefreshInOtherModes(t *testing.T) {
	for _, mode := range []policy.Mode{policy.Keep, policy.Propose} {
		l := newLife(t, "apps/Deployment")
		l.send(workloadOf())
		l.push, l.handler.Mode = "two", mode
		l.mark(restartedAt, "a")
		l.wantImage(mode.String()+": restarted", "r:1", "one")
		l.send(workloadOf(refresh, "a"))
		l.wantImage(mode.String()+": applied with a marker", "r:1", "one")
	}
	l := newLife(t, "apps/Deployment")
	l.handler.Mode = policy.Propose
	l.send(workloadOf())
	l.push = "two"
	l.mark(restartedAt, "a")
	annotations, _ := l.stored["metadata"].(map[string]any)["annotations"].(map[string]any)
	if got, want := annotations["tagpin.dev/proposed-pins"], `{"app":"r:1@`+digestOf("two").String()+`"}`; got != want {
		t.Errorf("proposed after a restart: %v, want %s", got, want)
	}
}

// A kind whose CRD prunes the metadata of its templates has its marker, its record and its pins in
// its own.
func TestRefreshPruned(t *testing.T) {
	prune := func(o map[string]any) map[string]any {
		delete(o["spec"].(map[string]any)["template"].(map[string]any), "metadata")
		return o
	}
	manifest := func(marker string) map[string]any {
		o := prune(workloadOf())
		if marker != "" {
			o["metadata"].(map[string]any)["annotations"] = map[string]any{refresh: marker}
		}
		return o
	}
	l := newLife(t, "argoproj.io/Rollout")
	l.send(manifest(""))
	l.wantImage("created", "r:1", "one")
	l.push = "two"
	l.send(manifest(""))
	l.wantImage("the same again", "r:1", "one")
	l.send(manifest("a"))
	l.wantImage("with a marker", "r:1", "two")
	l.push = "three"
	l.send(manifest("a"))
	l.wantImage("the same marker again", "r:1", "two")
	l.send(manifest("b"))
	l.wantImage("with another", "r:1", "three")
}

// With output digest the text is the annotation's.
func TestRefreshDigestOnly(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.handler.Pinner.Policy.Output = policy.DigestOnly
	l.send(workloadOf())
	l.push = "two"
	l.mark(restartedAt, "a")
	l.wantImage("refreshed", "r", "two")
	l.send(workloadOf())
	l.wantImage("applied again", "r", "two")
}

// A long marker is recorded by its hash, and a record that is no JSON counts for nothing.
func TestOddRecords(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.send(workloadOf())
	l.push = "two"
	l.mark(refresh, strings.Repeat("x", 10_000))
	if got := len(l.encode(l.template())); got > 11_000 {
		t.Errorf("the template has %d bytes: the marker is in it twice", got)
	}
	long := l.template()
	l.push = "three"
	l.mark(refresh, strings.Repeat("y", 10_000))
	l.undo(long)
	l.wantImage("undone", "r:1", "two")
	for _, record := range []string{"", "junk", "[]", `{"tagpin.dev/refresh":7}`, "null"} {
		l.push += "+"
		l.change(func(template map[string]any) {
			annotate(template, refresh, l.push)
			annotate(template, "tagpin.dev/refreshed", record)
		})
		l.wantImage(fmt.Sprintf("with the record %q", record), "r:1", l.push)
	}
}
