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

// suite is the input of gator verify.
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

// folder is a directory with a suite and the files that it names.
type folder struct {
	t     *testing.T
	dir   string
	suite suite
	files int // number of files that were written
}

func newFolder(t *testing.T) *folder {
	return &folder{
		t: t, dir: t.TempDir(),
		suite: suite{APIVersion: "test.gatekeeper.sh/v1alpha1", Kind: "Suite"},
	}
}

// write writes an object as YAML and returns the name of the file.
func (f *folder) write(o any) string {
	f.t.Helper()
	f.files++
	name := fmt.Sprintf("%d.yaml", f.files)
	text, err := yaml.Marshal(o)
	if err == nil {
		err = os.WriteFile(filepath.Join(f.dir, name), text, 0o600)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return name
}

// add adds a test of the policy, with some of its parameters in place of the defaults.
func (f *folder) add(name string, parameters map[string]any, cases ...testCase) {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(policies, "gatekeeper.yaml"))
	if err != nil {
		f.t.Fatal(err)
	}
	documents := bytes.Split(text, []byte("\n---\n"))
	var template, constraint map[string]any
	if len(documents) != 2 {
		f.t.Fatalf("gatekeeper.yaml has %d documents, want 2", len(documents))
	}
	for document, into := range map[int]*map[string]any{0: &template, 1: &constraint} {
		if err := yaml.Unmarshal(documents[document], into); err != nil {
			f.t.Fatal(err)
		}
	}
	spec := constraint["spec"].(map[string]any)
	// gator has no namespaces to select. The tests apply the constraint to workloads too.
	delete(spec["match"].(map[string]any), "namespaceSelector")
	all := map[string]any{"apiGroups": []string{"*"}, "kinds": []string{"*"}}
	spec["match"].(map[string]any)["kinds"] = []any{all}
	maps.Copy(spec["parameters"].(map[string]any), parameters)
	spec["parameters"].(map[string]any)["skipOwners"] = []any{
		map[string]any{
			"owner": "g.example/Cluster",
			"users": []string{"operator", "system:serviceaccount:op:*"},
		},
		map[string]any{"owner": "Cluster", "users": []string{"operator"}},
	}
	f.suite.Tests = append(f.suite.Tests, test{
		Name: name, Template: f.write(template), Constraint: f.write(constraint), Cases: cases,
	})
}

// want returns a test case. It expects a violation whose message matches the regular expression
// message, or no violation if message is empty.
func (f *folder) want(name string, object any, message string) testCase {
	f.t.Helper()
	a := assertion{Violations: "no"}
	if message != "" {
		a = assertion{Violations: 1, Message: message}
	}
	return testCase{Name: name, Object: f.write(object), Assertions: []assertion{a}}
}

// verify runs gator, and checks that all cases passed.
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
	gator := exec.CommandContext(f.t.Context(), "go", "tool", "gator", "verify", path, "-v")
	out, err := gator.CombinedOutput()
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

// object returns an object with the given fields. kind has the form apiVersion/kind.
func object(kind string, fields map[string]any) map[string]any {
	i := strings.LastIndex(kind, "/")
	o := map[string]any{
		"apiVersion": kind[:i], "kind": kind[i+1:],
		"metadata": map[string]any{"name": "x", "namespace": "n"},
	}
	maps.Copy(o, fields)
	return o
}

func pod(image string) map[string]any {
	return object("v1/Pod", map[string]any{"spec": podSpec(image)})
}

// TestTable runs the cases that the tests of package policy and of the ValidatingAdmissionPolicy
// run too.
func TestTable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(policies, "testdata", "cases.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var table []struct {
		Image      string
		Exempt     []string
		ShortNames string `json:"shortNames"`
		Allowed    bool
	}
	if err := yaml.UnmarshalStrict(text, &table); err != nil || len(table) < 40 {
		t.Fatalf("cases.yaml has %d cases, want at least 40 (%v)", len(table), err)
	}
	f := newFolder(t)
	for _, tt := range table {
		message := ""
		if !tt.Allowed {
			message = "app: .* has no digest"
		}
		parameters := map[string]any{
			"exemptImages": append([]string{}, tt.Exempt...), "leaveShortNames": tt.ShortNames == "leave",
		}
		f.add(fmt.Sprint(tt), parameters, f.want("pod", pod(tt.Image), message))
	}
	f.verify()
}

// TestFields checks that the policy finds an unpinned image in each field of each kind.
func TestFields(t *testing.T) {
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
	for _, kind := range []string{
		"apps/v1/Deployment", "apps/v1/ReplicaSet", "apps/v1/StatefulSet", "apps/v1/DaemonSet",
		"batch/v1/Job", "v1/ReplicationController",
	} {
		kinds[kind] = func(s map[string]any) map[string]any { return map[string]any{"spec": template(s)} }
	}
	var cases []testCase
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		for _, field := range []string{
			"containers", "initContainers", "ephemeralContainers", "volumes", "",
		} {
			spec, message := podSpec(pinned), "bad: b:1 has no digest"
			bad := map[string]any{"name": "bad", "image": "b:1"}
			switch field {
			case "volumes":
				spec["volumes"] = []any{
					map[string]any{"name": "bad", "image": map[string]any{"reference": "b:1"}},
					map[string]any{"name": "disk", "rbd": map[string]any{"image": "no-image"}},
				}
			case "":
				message = ""
			default:
				list, _ := spec[field].([]any)
				spec[field] = append(list, bad)
			}
			cases = append(cases, f.want(kind+" "+field, object(kind, kinds[kind](spec)), message))
		}
	}
	f.add("fields", nil, cases...)
	f.verify()
}

// review returns the AdmissionReview of an update of old to now.
func review(old, now map[string]any) map[string]any {
	group, version, _ := strings.Cut(now["apiVersion"].(string), "/")
	if version == "" {
		group, version = "", group
	}
	request := map[string]any{
		"uid": "u", "operation": "UPDATE", "name": "x", "namespace": "n",
		"kind":   map[string]any{"group": group, "version": version, "kind": now["kind"]},
		"object": now, "oldObject": old, "userInfo": map[string]any{"username": "jane"},
	}
	return map[string]any{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request,
	}
}

// with returns a copy of an object with additional metadata.
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

// created returns the AdmissionReview of the creation of an object.
func created(o map[string]any) map[string]any {
	r := review(o, o)
	request := r["request"].(map[string]any)
	request["operation"] = "CREATE"
	delete(request, "oldObject")
	return r
}

// by makes a user in the given group the sender of a review, and returns the review.
func by(r map[string]any, group string) map[string]any {
	user := map[string]any{"username": "someone", "groups": []any{group}}
	r["request"].(map[string]any)["userInfo"] = user
	return r
}

// owner returns metadata with one owner reference.
func owner(apiVersion, kind string, controller bool) map[string]any {
	return map[string]any{"ownerReferences": []any{map[string]any{
		"apiVersion": apiVersion, "kind": kind, "name": "o", "uid": "u", "controller": controller,
	}}}
}

// TestNotChecked has the objects that the policy does not check: those that don't change, are being
// deleted, or have the template of their owner. Beside each is a similar object that it checks.
func TestNotChecked(t *testing.T) {
	f := newFolder(t)
	const refused = "has no digest"
	workload := func(kind, image string) map[string]any {
		template := map[string]any{"spec": podSpec(image)}
		return object(kind, map[string]any{"spec": map[string]any{"template": template}})
	}
	deleting := map[string]any{"deletionTimestamp": "2026-01-01T00:00:00Z"}
	labelled := with(t, pod("a:1"), map[string]any{"labels": map[string]any{"new": "label"}})
	replicaSet := with(t, workload("apps/v1/ReplicaSet", "a:1"), owner("apps/v1", "Deployment", true))
	job := workload("batch/v1/Job", "a:1")
	container := map[string]any{"name": "a"}
	mirror := func(image string) map[string]any {
		annotations := map[string]any{"kubernetes.io/config.mirror": "x"}
		return with(t, pod(image), map[string]any{"annotations": annotations})
	}
	spec := func(fields map[string]any) map[string]any {
		return object("v1/Pod", map[string]any{"spec": fields})
	}
	f.add("not checked", nil,
		f.want("image unchanged", review(pod("a:1"), labelled), ""),
		f.want("another tag", review(pod("a:1"), pod("a:2")), refused),
		f.want("a tag replaces a digest", review(pod("a@sha256:"+strings.Repeat("0", 64)), pod("a:1")), refused),
		f.want("audit of an object being deleted", with(t, pod("a:1"), deleting), ""),
		f.want("update of an object being deleted", review(with(t, pod("a:1"), deleting), pod("a:2")), ""),
		f.want("only the new object is being deleted", review(pod("a:1"), with(t, pod("a:2"), deleting)), refused),
		f.want("a node's mirror pod", by(created(mirror("a:1")), "system:nodes"), ""),
		f.want("a user's mirror pod", by(created(mirror("a:1")), "system:masters"), refused),
		f.want("a mirror pod changed by a node", by(review(mirror("a:1"), mirror("a:2")), "system:nodes"), refused),
		f.want("audit of a mirror pod", mirror("a:1"), refused),
		f.want("a Deployment's ReplicaSet", replicaSet, ""),
		f.want("a ReplicaSet's pod", with(t, pod("a:1"), owner("apps/v1", "ReplicaSet", true)), refused),
		f.want("a CronJob's Job", with(t, job, owner("batch/v1", "CronJob", true)), refused),
		f.want("a Job of another controller", with(t, job, owner("x.example/v1", "CronJob", true)), ""),
		f.want("Istio's placeholder in a pod", pod("auto"), refused),
		f.want("Istio's placeholder in a template", workload("apps/v1/Deployment", "auto"), ""),
		f.want("a container without an image", spec(map[string]any{"containers": []any{container}}), ""),
		f.want("containers are null", spec(map[string]any{"containers": nil, "volumes": nil}), ""),
		f.want("no spec", object("apps/v1/Deployment", map[string]any{}), ""),
	)
	f.verify()
}

// TestSkippedOwners has pods of owners in skipOwners, created by the users of the operator or by
// others.
func TestSkippedOwners(t *testing.T) {
	f := newFolder(t)
	f.add("owners", nil)
	request := func(user, operation, apiVersion, kind string, controller bool) map[string]any {
		r := review(pod("b:1"), with(t, pod("a:1"), owner(apiVersion, kind, controller)))
		request := r["request"].(map[string]any)
		request["operation"], request["userInfo"] = operation, map[string]any{"username": user}
		if operation == "CREATE" {
			delete(request, "oldObject")
		}
		return r
	}
	const refused = "has no digest"
	f.suite.Tests[0].Cases = []testCase{
		f.want("a user", request("operator", "CREATE", "g.example/v1", "Cluster", true), ""),
		f.want("a pattern of users", request("system:serviceaccount:op:x", "CREATE", "g.example/v2", "Cluster", true), ""),
		f.want("an owner in the core group", request("operator", "CREATE", "v1", "Cluster", true), ""),
		f.want("another user", request("operator2", "CREATE", "g.example/v1", "Cluster", true), refused),
		f.want("another group", request("operator", "CREATE", "evil.example/v1", "Cluster", true), refused),
		f.want("another kind", request("operator", "CREATE", "g.example/v1", "Thing", true), refused),
		f.want("an owner that is not the controller", request("operator", "CREATE", "g.example/v1", "Cluster", false), refused),
		f.want("an update", request("operator", "UPDATE", "g.example/v1", "Cluster", true), refused),
	}
	f.verify()
}
