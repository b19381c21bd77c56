// SPDX-License-Identifier: Apache-2.0

package gatekeeper

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const policies = "../../deploy/policies"

// suite is what gator verify reads.
type suite struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Tests      []test `json:"tests"`
}

type test struct {
	Name       string     `json:"name"`
	Template   string     `json:"template"`
	Constraint string     `json:"constraint"`
	Cases      []testCase `json:"cases"`
}

type testCase struct {
	Name       string      `json:"name"`
	Object     string      `json:"object"`
	Assertions []assertion `json:"assertions"`
}

type assertion struct {
	Violations any    `json:"violations"`
	Message    string `json:"message,omitempty"`
}

// folder is where a suite and its files are written.
type folder struct {
	t     *testing.T
	dir   string
	suite suite
	n     int
}

func newFolder(t *testing.T) *folder {
	return &folder{t: t, dir: t.TempDir(), suite: suite{APIVersion: "test.gatekeeper.sh/v1alpha1", Kind: "Suite"}}
}

// write writes an object as YAML and returns the file's name.
func (f *folder) write(o any) string {
	f.t.Helper()
	f.n++
	name := fmt.Sprintf("%d.yaml", f.n)
	text, err := yaml.Marshal(o)
	if err == nil {
		err = os.WriteFile(filepath.Join(f.dir, name), text, 0o600)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return name
}

// add adds a test with a list of exemptions; kinds are those of the constraint.
func (f *folder) add(name string, exempt []string, cases ...testCase) {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(policies, "gatekeeper.yaml"))
	if err != nil {
		f.t.Fatal(err)
	}
	documents := bytes.Split(text, []byte("\n---\n"))
	var template, constraint map[string]any
	if len(documents) != 2 {
		f.t.Fatalf("%d documents, want 2", len(documents))
	}
	for document, into := range map[int]*map[string]any{0: &template, 1: &constraint} {
		if err := yaml.Unmarshal(documents[document], into); err != nil {
			f.t.Fatal(err)
		}
	}
	spec := constraint["spec"].(map[string]any)
	// gator knows no namespaces; and here the constraint is for the workloads too.
	delete(spec["match"].(map[string]any), "namespaceSelector")
	spec["match"].(map[string]any)["kinds"] = []any{map[string]any{"apiGroups": []string{"*"}, "kinds": []string{"*"}}}
	if exempt != nil {
		spec["parameters"].(map[string]any)["exemptImages"] = exempt
	}
	spec["parameters"].(map[string]any)["skipOwners"] = []any{
		map[string]any{"owner": "g.example/Cluster", "users": []string{"operator", "system:serviceaccount:op:*"}},
		map[string]any{"owner": "Cluster", "users": []string{"operator"}},
	}
	f.suite.Tests = append(f.suite.Tests, test{Name: name, Template: f.write(template), Constraint: f.write(constraint), Cases: cases})
}

// want is a case; message is a part of what the violation says, and nothing where there is to be none.
func (f *folder) want(name string, object any, message string) testCase {
	f.t.Helper()
	a := assertion{Violations: "no"}
	if message != "" {
		a = assertion{Violations: 1, Message: message}
	}
	return testCase{Name: name, Object: f.write(object), Assertions: []assertion{a}}
}

// verify runs gator.
func (f *folder) verify() {
	f.t.Helper()
	path := filepath.Join(f.dir, "suite.yaml")
	text, err := yaml.Marshal(f.suite)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := exec.CommandContext(f.t.Context(), "go", "tool", "gator", "verify", path, "-v").CombinedOutput()
	if err != nil {
		f.t.Fatalf("gator verify: %v\n%s", err, out)
	}
	cases := 0
	for _, t := range f.suite.Tests {
		cases += len(t.Cases)
	}
	if got := strings.Count(string(out), "--- PASS: ") - len(f.suite.Tests); got != cases {
		f.t.Errorf("%d cases passed, want %d\n%s", got, cases, out)
	}
}

func podSpec(image string) map[string]any {
	return map[string]any{"containers": []any{map[string]any{"name": "app", "image": image}}}
}

// object is one of a kind, from apiVersion/kind.
func object(kind string, body map[string]any) map[string]any {
	i := strings.LastIndex(kind, "/")
	o := map[string]any{"apiVersion": kind[:i], "kind": kind[i+1:], "metadata": map[string]any{"name": "x", "namespace": "n"}}
	maps.Copy(o, body)
	return o
}

func pod(image string) map[string]any {
	return object("v1/Pod", map[string]any{"spec": podSpec(image)})
}

// TestTable has the table that tagpin's own rules and the ValidatingAdmissionPolicy are tested by.
func TestTable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(policies, "testdata", "cases.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var table []struct {
		Image   string
		Exempt  []string
		Allowed bool
	}
	if err := yaml.UnmarshalStrict(text, &table); err != nil || len(table) < 40 {
		t.Fatalf("%d cases, %v", len(table), err)
	}
	f := newFolder(t)
	for _, tt := range table {
		message := ""
		if !tt.Allowed {
			message = "app: .* has no digest"
		}
		f.add(strings.Join(append([]string{tt.Image}, tt.Exempt...), " "), append([]string{}, tt.Exempt...), f.want("pod", pod(tt.Image), message))
	}
	f.verify()
}

// TestPlaces has a reference in each place, of each kind.
func TestPlaces(t *testing.T) {
	const pinned = "a@sha256:0000000000000000000000000000000000000000000000000000000000000000"
	f := newFolder(t)
	template := func(spec map[string]any) map[string]any {
		return map[string]any{"template": map[string]any{"spec": spec}}
	}
	kinds := map[string]func(spec map[string]any) map[string]any{
		"v1/Pod":         func(s map[string]any) map[string]any { return map[string]any{"spec": s} },
		"v1/PodTemplate": template,
		"batch/v1/CronJob": func(s map[string]any) map[string]any {
			return map[string]any{"spec": map[string]any{"jobTemplate": map[string]any{"spec": template(s)}}}
		},
	}
	for _, kind := range []string{"apps/v1/Deployment", "apps/v1/ReplicaSet", "apps/v1/StatefulSet", "apps/v1/DaemonSet", "batch/v1/Job", "v1/ReplicationController"} {
		kinds[kind] = func(s map[string]any) map[string]any { return map[string]any{"spec": template(s)} }
	}
	var cases []testCase
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		for _, place := range []string{"containers", "initContainers", "ephemeralContainers", "volumes", "nothing"} {
			spec, message := podSpec(pinned), "bad: b:1 has no digest"
			bad := map[string]any{"name": "bad", "image": "b:1"}
			switch place {
			case "volumes":
				spec["volumes"] = []any{
					map[string]any{"name": "bad", "image": map[string]any{"reference": "b:1"}},
					map[string]any{"name": "disk", "rbd": map[string]any{"image": "no-image"}},
				}
			case "nothing":
				message = ""
			default:
				list, _ := spec[place].([]any)
				spec[place] = append(list, bad)
			}
			cases = append(cases, f.want(kind+" "+place, object(kind, kinds[kind](spec)), message))
		}
	}
	f.add("places", nil, cases...)
	f.verify()
}

// review is an AdmissionReview of an update.
func review(old, now map[string]any) map[string]any {
	group, version, _ := strings.Cut(now["apiVersion"].(string), "/")
	if version == "" {
		group, version = "", group
	}
	return map[string]any{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": map[string]any{
		"uid": "u", "operation": "UPDATE", "name": "x", "namespace": "n",
		"kind":   map[string]any{"group": group, "version": version, "kind": now["kind"]},
		"object": now, "oldObject": old, "userInfo": map[string]any{"username": "jane"},
	}}
}

// with is a copy of an object with more in its metadata.
func with(t *testing.T, o map[string]any, metadata map[string]any) map[string]any {
	t.Helper()
	raw, err := json.Marshal(o)
	var changed map[string]any
	if err == nil {
		err = json.Unmarshal(raw, &changed)
	}
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(changed["metadata"].(map[string]any), metadata)
	return changed
}

// created makes the review of an update one of a creation.
func created(o map[string]any) map[string]any {
	r := review(o, o)
	request := r["request"].(map[string]any)
	request["operation"] = "CREATE"
	delete(request, "oldObject")
	return r
}

// by gives the user of a review a group.
func by(r map[string]any, group string) map[string]any {
	user := map[string]any{"username": "someone", "groups": []any{group}}
	r["request"].(map[string]any)["userInfo"] = user
	return r
}

// TestSpared has what is not looked at: what stays as it was, is being deleted, or is as its owner's template says.
func TestSpared(t *testing.T) {
	f := newFolder(t)
	const refused = "has no digest"
	owner := func(apiVersion, kind string) map[string]any {
		return map[string]any{"ownerReferences": []any{map[string]any{"apiVersion": apiVersion, "kind": kind, "name": "o", "uid": "u", "controller": true}}}
	}
	workload := func(kind string) map[string]any {
		return object(kind, map[string]any{"spec": map[string]any{"template": map[string]any{"spec": podSpec("a:1")}}})
	}
	deleting := map[string]any{"deletionTimestamp": "2026-01-01T00:00:00Z"}
	placeholder := object("apps/v1/Deployment", map[string]any{"spec": map[string]any{
		"template": map[string]any{"spec": podSpec("auto")},
	}})
	mirror := func(image string) map[string]any {
		annotations := map[string]any{"kubernetes.io/config.mirror": "x"}
		return with(t, pod(image), map[string]any{"annotations": annotations})
	}
	f.add("spared", nil,
		f.want("as it was", review(pod("a:1"), with(t, pod("a:1"), map[string]any{"labels": map[string]any{"new": "label"}})), ""),
		f.want("another tag", review(pod("a:1"), pod("a:2")), refused),
		f.want("a tag for a digest", review(pod("a@sha256:"+strings.Repeat("0", 64)), pod("a:1")), refused),
		f.want("being deleted, in an audit", with(t, pod("a:1"), deleting), ""),
		f.want("being deleted, by a request", review(with(t, pod("a:1"), deleting), pod("a:2")), ""),
		f.want("as the request says", review(pod("a:1"), with(t, pod("a:2"), deleting)), refused),
		f.want("a node's mirror pod", by(created(mirror("a:1")), "system:nodes"), ""),
		f.want("a user's mirror pod", by(created(mirror("a:1")), "system:masters"), refused),
		f.want("changed by a node", by(review(mirror("a:1"), mirror("a:2")), "system:nodes"), refused),
		f.want("a mirror pod in an audit", mirror("a:1"), refused),
		f.want("a Deployment's ReplicaSet", with(t, workload("apps/v1/ReplicaSet"), owner("apps/v1", "Deployment")), ""),
		f.want("a ReplicaSet's pod", with(t, pod("a:1"), owner("apps/v1", "ReplicaSet")), refused),
		f.want("a CronJob's Job", with(t, workload("batch/v1/Job"), owner("batch/v1", "CronJob")), refused),
		f.want("another's Job", with(t, workload("batch/v1/Job"), owner("x.example/v1", "CronJob")), ""),
		f.want("Istio's placeholder in a pod", pod("auto"), refused),
		f.want("Istio's placeholder in a template", placeholder, ""),
		f.want("no image", object("v1/Pod", map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "a"}}}}), ""),
		f.want("null", object("v1/Pod", map[string]any{"spec": map[string]any{"containers": nil, "volumes": nil}}), ""),
		f.want("nothing", object("apps/v1/Deployment", map[string]any{}), ""),
	)
	f.verify()
}

// TestSkippedOwners has what the config's operators make, and what others do in their name.
func TestSkippedOwners(t *testing.T) {
	f := newFolder(t)
	f.add("owners", nil)
	made := func(user, operation, apiVersion, kind string, controller bool) map[string]any {
		o := with(t, pod("a:1"), map[string]any{"ownerReferences": []any{map[string]any{
			"apiVersion": apiVersion, "kind": kind, "name": "o", "uid": "u", "controller": controller,
		}}})
		r := review(pod("b:1"), o)
		request := r["request"].(map[string]any)
		request["operation"], request["userInfo"] = operation, map[string]any{"username": user}
		if operation == "CREATE" {
			delete(request, "oldObject")
		}
		return r
	}
	const refused = "has no digest"
	f.suite.Tests[0].Cases = []testCase{
		f.want("by a user", made("operator", "CREATE", "g.example/v1", "Cluster", true), ""),
		f.want("by a group of users", made("system:serviceaccount:op:x", "CREATE", "g.example/v2", "Cluster", true), ""),
		f.want("of the core group", made("operator", "CREATE", "v1", "Cluster", true), ""),
		f.want("by another user", made("operator2", "CREATE", "g.example/v1", "Cluster", true), refused),
		f.want("of another group", made("operator", "CREATE", "evil.example/v1", "Cluster", true), refused),
		f.want("of another kind", made("operator", "CREATE", "g.example/v1", "Thing", true), refused),
		f.want("not its controller", made("operator", "CREATE", "g.example/v1", "Cluster", false), refused),
		f.want("changed", made("operator", "UPDATE", "g.example/v1", "Cluster", true), refused),
	}
	f.verify()
}
