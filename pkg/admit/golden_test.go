// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/policy"
)

var update = flag.Bool("update", false, "write the reviews and the golden answers again; read the diff")

// kinds are the kinds of objects. wrap returns an object of the kind that has a pod template.
var kinds = []struct {
	group, version, kind string
	wrap                 func(template map[string]any) map[string]any
}{
	{"", "v1", "Pod", func(t map[string]any) map[string]any { return t }},
	{"apps", "v1", "Deployment", inSpecTemplate},
	{"apps", "v1", "ReplicaSet", inSpecTemplate},
	{"apps", "v1", "StatefulSet", inSpecTemplate},
	{"apps", "v1", "DaemonSet", inSpecTemplate},
	{"batch", "v1", "Job", inSpecTemplate},
	{"", "v1", "ReplicationController", inSpecTemplate},
	{"batch", "v1", "CronJob", func(t map[string]any) map[string]any {
		return map[string]any{"spec": map[string]any{"jobTemplate": inSpecTemplate(t)}}
	}},
	{"", "v1", "PodTemplate", func(t map[string]any) map[string]any { return map[string]any{"template": t} }},
	{"argoproj.io", "v1alpha1", "Rollout", inSpecTemplate},
	{"jobset.x-k8s.io", "v1alpha2", "JobSet", func(t map[string]any) map[string]any {
		return map[string]any{"spec": map[string]any{"replicatedJobs": []any{
			map[string]any{"name": "w", "template": inSpecTemplate(t)},
		}}}
	}},
}

func inSpecTemplate(t map[string]any) map[string]any {
	return map[string]any{"spec": map[string]any{"template": t}}
}

// template returns a pod template that has a reference in each of the four fields. It also has a
// field that no client library knows, and fields that look like references.
func template(kind string, image func(name string) string) map[string]any {
	spec := map[string]any{
		"fieldOfTomorrow": map[string]any{"image": "untouched:1"},
		"initContainers":  []any{map[string]any{"name": "init", "image": image("init")}},
		"containers": []any{
			map[string]any{"name": "app", "image": image("app"), "futureField": []any{1, "x"}},
			map[string]any{"name": "pinned", "image": "ghcr.io/a/b:1@" + digestOf("author").String()},
			map[string]any{"name": "local", "image": "local/only:1", "imagePullPolicy": "Never"},
		},
		"volumes": []any{
			map[string]any{"name": "model", "image": map[string]any{"reference": image("model"), "pullPolicy": "IfNotPresent"}},
			map[string]any{"name": "disk", "rbd": map[string]any{"image": "no-image:1", "monitors": []any{"m"}}},
		},
	}
	if kind == "Pod" {
		spec["ephemeralContainers"] = []any{map[string]any{"name": "debug", "image": image("debug")}}
	}
	return map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "x"}}, "spec": spec}
}

// texts are the references of an author, by the name of the container or volume.
var texts = map[string]string{
	"init": "busybox", "app": "registry.example:5000/team/app:1.2", "debug": "docker.io/library/busybox:latest", "model": "ghcr.io/m/model:v1",
}

func tagged(name string) string { return texts[name] }

// moved returns a pin from before its tag was moved.
func moved(name string) string { return texts[name] + "@" + digestOf("before the move").String() }

// nextVersion returns the reference with another tag.
func nextVersion(name string) string {
	return strings.TrimSuffix(texts[name], ":latest") + "-v2"
}

// cases are the operations, with the images of the object before and after.
var cases = []struct {
	name, operation string
	before, after   func(name string) string
}{
	{"create", "CREATE", nil, tagged},
	{"update-unchanged", "UPDATE", tagged, tagged},
	{"update-sticky", "UPDATE", moved, tagged},
	{"update-changed", "UPDATE", moved, nextVersion},
}

// TestGolden compares the answers for each kind, operation and mode with the files in testdata.
func TestGolden(t *testing.T) {
	for _, k := range kinds {
		for _, c := range cases {
			name := strings.ToLower(k.kind) + "-" + c.name
			object := func(image func(string) string) map[string]any {
				if image == nil {
					return nil
				}
				o := k.wrap(template(k.kind, image))
				o["apiVersion"], o["kind"] = strings.TrimPrefix(k.group+"/"+k.version, "/"), k.kind
				if o["metadata"] == nil {
					o["metadata"] = map[string]any{}
				}
				o["metadata"].(map[string]any)["name"] = "x"
				return o
			}
			body := reviewFile(t, name, map[string]any{
				"uid": "u-" + name, "operation": c.operation, "namespace": "team", "name": "x",
				"kind":     map[string]any{"group": k.group, "version": k.version, "kind": k.kind},
				"userInfo": map[string]any{"username": "jane"},
				"object":   object(c.after), "oldObject": object(c.before),
			})
			for _, mode := range []policy.Mode{policy.Enforce, policy.Propose, policy.Keep} {
				t.Run(name+"/"+mode.String(), func(t *testing.T) { golden(t, name, mode, body) })
			}
		}
	}
}

// reviewFile reads the review of a case. With -update, it writes the review first.
func reviewFile(t *testing.T, name string, request map[string]any) []byte {
	t.Helper()
	path := filepath.Join("testdata", name+".review.json")
	if *update {
		write(t, path, map[string]any{
			"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request,
		})
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func write(t *testing.T, path string, v any) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// goldenAnswer is an answer as it is stored in testdata.
type goldenAnswer struct {
	Allowed  bool            `json:"allowed"`
	Message  string          `json:"message,omitempty"`
	Patch    json.RawMessage `json:"patch,omitempty"`
	Warnings []string        `json:"warnings,omitempty"`
	Audit    string          `json:"audit,omitempty"`
}

func golden(t *testing.T, name string, mode policy.Mode, body []byte) {
	r := respond(t, mode, body)
	got := goldenAnswer{Allowed: r.Allowed, Patch: r.Patch, Warnings: r.Warnings, Audit: r.AuditAnnotations["pins"]}
	if r.Result != nil {
		got.Message = r.Result.Message
	}
	path := filepath.Join("testdata", name+"."+mode.String()+".patch.json")
	if *update {
		write(t, path, got)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want goldenAnswer
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(normal(t, want), normal(t, got)); diff != "" {
		t.Errorf("answer and %s: -want +got\n%s", path, diff)
	}
	checkObject(t, name, mode, body, r)
}

func normal(t *testing.T, a goldenAnswer) any {
	t.Helper()
	raw, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
