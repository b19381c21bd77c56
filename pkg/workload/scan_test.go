// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

var pod = workload.Kind{Kind: "Pod"}

func scan(t *testing.T, kind workload.Kind, raw string) *workload.Object {
	t.Helper()
	o, err := new(workload.Table).Scan(kind, []byte(raw))
	if err != nil {
		t.Fatalf("Scan(%s): %v", raw, err)
	}
	return o
}

func TestScanPod(t *testing.T) {
	got := scan(t, pod, `{"apiVersion":"v1","kind":"Pod",
		"metadata":{"name":"p","namespace":"n","deletionTimestamp":"2026-01-01T00:00:00Z",
			"labels":{"pod-template-hash":"h","app":"x"},
			"annotations":{"tagpin.dev/pins":"{}","a~b/c":"\"x\\\\"},
			"ownerReferences":[{"apiVersion":"v1","kind":"X","name":"no","uid":"1"},
				{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"2","controller":true}]},
		"spec":{"serviceAccount":"old","serviceAccountName":"sa",
			"imagePullSecrets":[{"name":"s1"},{"name":""},{},{"name":"s2"}],
			"containers":[{"image":"a:1","name":"q\"uo\\te\u00e9"},{"name":"none"},
				{"name":"null","image":null},7],
			"volumes":[{"name":"v","image":{"reference":"m:1","pullPolicy":"Never"}},
				{"name":"e","emptyDir":{}}]}}`)
	want := &workload.Object{
		Kind: pod,
		Metadata: workload.Metadata{
			Pointer: "/metadata", Present: true, HasAnnotations: true,
			Name: "p", Namespace: "n", Deleting: true, Size: 26,
			Controller:  workload.Owner{APIVersion: "apps/v1", Kind: "ReplicaSet", UID: "2"},
			Labels:      map[string]string{"pod-template-hash": "h"},
			Annotations: map[string]string{"tagpin.dev/pins": "{}"},
		},
	}
	want.PodSpecs = []workload.PodSpec{{
		Pointer: "/spec", Key: "/spec", Metadata: want.Metadata, Annotated: true,
		Identity: workload.Identity{ServiceAccount: "sa", PullSecrets: []string{"s1", "s2"}},
		References: []workload.Reference{
			{Name: "q\"uo\\teé", Pointer: "/spec/containers/0/image", Text: "a:1"},
			{Name: "none", Missing: true},
			{Name: "null", Missing: true},
			{Name: "volume/v", Pointer: "/spec/volumes/0/image/reference", Text: "m:1", Never: true},
		},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Scan (-want +got):\n%s", diff)
	}
}

// TestScanOddTypes scans values whose types are not the expected ones. They contain no references
// and are not errors.
func TestScanOddTypes(t *testing.T) {
	deployment := workload.Kind{Group: "apps", Kind: "Deployment"}
	for _, raw := range []string{
		`{}`, `{"spec":null}`, `{"spec":{"template":null}}`,
		`{"spec":{"template":{}}}`, `{"spec":{"template":{"spec":null}}}`,
		`{"spec":[]}`,
		`{"spec":{"template":"x"}}`, `{"metadata":[1,{"a":[]}],"spec":{"template":{"metadata":"m"}}}`,
	} {
		if o := scan(t, deployment, raw); len(o.PodSpecs) != 0 {
			t.Errorf("Scan(%s) = %+v, want no pod specs", raw, o.PodSpecs)
		}
	}
	for _, raw := range []string{
		`{"spec":{"containers":{"image":"x"},"volumes":"v","imagePullSecrets":[null,1],
			"serviceAccountName":{}}}`,
		`{"spec":{"initContainers":null,"volumes":[null,[],{"image":"x"},{"image":null}]}}`,
	} {
		if o := scan(t, pod, raw); len(o.PodSpecs) != 1 || len(o.PodSpecs[0].References) != 0 {
			t.Errorf("Scan(%s) = %+v, want one pod spec without references", raw, o.PodSpecs)
		}
	}
}

func TestScanRefuses(t *testing.T) {
	for _, raw := range []string{
		``, `null`, `[]`, `"x"`, `{`, `{"spec":{"containers":[{"image":"a"`, `{} {}`, `{"spec":}`,
	} {
		if o, err := new(workload.Table).Scan(pod, []byte(raw)); err == nil {
			t.Errorf("Scan(%s) = %+v, want an error", raw, o)
		}
	}
	unknown := workload.Kind{Group: "x", Kind: "Pod"}
	_, err := new(workload.Table).Scan(unknown, []byte(`{}`))
	if !errors.Is(err, workload.ErrUnknownKind) {
		t.Errorf("Scan of a %s = %v, want ErrUnknownKind", unknown, err)
	}
}

func TestScanLists(t *testing.T) {
	kind := workload.Kind{Group: "jobset.x-k8s.io", Kind: "JobSet"}
	table, err := workload.NewTable(
		workload.Template{
			Group: kind.Group,
			Kind:  kind.Kind,
			Paths: []string{"spec.replicatedJobs[*].template.spec.template"},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	const template = `{"spec":{"template":{"spec":{"containers":[{"image":"a"}]}}}}`
	o, err := table.Scan(kind, []byte(`{"spec":{"replicatedJobs":[{"template":`+template+`},
		{},{"template":`+template+`}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range o.PodSpecs {
		got = append(got, s.References[0].Pointer)
		if s.Annotated {
			t.Errorf("%s: Annotated = true, want false for a custom kind", s.Pointer)
		}
	}
	want := []string{
		"/spec/replicatedJobs/0/template/spec/template/spec/containers/0/image",
		"/spec/replicatedJobs/2/template/spec/template/spec/containers/0/image",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pointers (-want +got):\n%s", diff)
	}
}

// TestScanNamesElements checks that the Key of a pod spec has the names of list elements.
func TestScanNamesElements(t *testing.T) {
	kind := workload.Kind{Group: "g", Kind: "Sets"}
	table, err := workload.NewTable(
		workload.Template{
			Group: kind.Group,
			Kind:  kind.Kind,
			Paths: []string{"spec.sets[*].jobs[*].template"},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	const job = `"template":{"spec":{"containers":[{"image":"a"}]}}`
	for _, tt := range []struct{ spec, want string }{
		{
			`{"sets":[{"name":"one","jobs":[{` + job + `,"name":"two"}]}]}`,
			"/spec/sets/one/jobs/two/template/spec",
		},
		{
			`{"sets":[{},{"jobs":[{"name":"a/b",` + job + `}],"name":"~"}]}`,
			"/spec/sets/~0/jobs/a~1b/template/spec",
		},
		{`{"sets":[{"jobs":[{},{` + job + `}],"name":"one"}]}`, "/spec/sets/one/jobs/1/template/spec"},
		{`{"sets":[{"name":7,"jobs":[{"name":"",` + job + `}]}]}`, "/spec/sets/0/jobs/0/template/spec"},
	} {
		o, err := table.Scan(kind, []byte(`{"spec":`+tt.spec+`}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := o.PodSpecs[0].Key; got != tt.want {
			t.Errorf("Scan(%s): Key = %s, want %s", tt.spec, got, tt.want)
		}
	}
}

func TestNewTableRefuses(t *testing.T) {
	_, err := workload.NewTable(
		workload.Template{Group: "g"},
		workload.Template{Kind: "Pod", Paths: []string{"spec"}},
		workload.Template{Kind: "A"},
		workload.Template{Kind: "B", Paths: []string{"spec..x"}},
		workload.Template{Kind: "C", Paths: []string{"spec[0].x"}},
		workload.Template{Kind: "D", Paths: []string{"a", "a.b"}},
		workload.Template{Kind: "E", Paths: []string{"a.b", "a"}},
		workload.Template{Kind: "F", Paths: []string{""}},
		workload.Template{Kind: "G", Paths: []string{"spec.it's"}},
	)
	for _, want := range []string{
		`group "g"`, "of Pod", "of A", "of B", "of C", "of D", "of E", "of F", "of G",
	} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("NewTable = %v, want an error that contains %q", err, want)
		}
	}
}

// FuzzScan scans arbitrary texts. It checks that the pointer of each reference leads to its text in
// the decoded object.
func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"spec":{"containers":[{"name":"a","image":"b"}],
		"volumes":[{"name":"v","image":{"reference":"r"}}]}}`))
	f.Add([]byte(`{"metadata":{"annotations":{"tagpin.dev/pins":"{}"}},
		"spec":{"imagePullSecrets":[{"name":"s"}]}}`))
	f.Add([]byte(`{"spec":{"containers":[{"im\u0061ge":"\ud83d\ude00"}]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		o, err := new(workload.Table).Scan(pod, raw)
		if !bytes.Equal(before, raw) {
			t.Fatal("Scan wrote to its input")
		}
		if (err == nil) && !json.Valid(raw) && bytes.Equal(raw, bytes.ToValidUTF8(raw, nil)) {
			t.Fatalf("Scan(%q) = nil error, want one for invalid JSON", raw)
		}
		if err != nil {
			return
		}
		var decoded map[string]any
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber() // Decode fails for numbers that a float64 can't hold
		if err := d.Decode(&decoded); err != nil {
			return // the object has duplicate names with values of different types
		}
		for _, s := range o.PodSpecs {
			for _, r := range s.References {
				if len(r.Text) > ref.MaxLength {
					continue
				}
				if r.Pointer != "" && strings.Count(string(raw), `"spec"`) == 1 &&
					!bytes.ContainsRune(raw, '\\') && !mayHaveDuplicates(raw) {
					checkPointer(t, decoded, r)
				}
			}
		}
	})
}

// mayHaveDuplicates reports whether an object may contain a field twice that leads to a reference.
// Decoders disagree about such objects, and about texts that are not UTF-8.
func mayHaveDuplicates(raw []byte) bool {
	for _, name := range []string{
		"containers", "initContainers", "ephemeralContainers", "volumes", "image", "reference", "spec",
	} {
		if strings.Count(strings.ToLower(string(raw)), strings.ToLower(name)) > 1 {
			return true
		}
	}
	return !bytes.Equal(raw, bytes.ToValidUTF8(raw, nil))
}

// checkPointer fails if the pointer of a reference does not lead to its text in v.
func checkPointer(t *testing.T, v any, r workload.Reference) {
	t.Helper()
	for _, step := range strings.Split(r.Pointer[1:], "/") {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(at) {
				t.Fatalf("pointer %s leads nowhere", r.Pointer)
			}
			v = at[i]
		}
	}
	if v != r.Text {
		t.Fatalf("Text = %q, want %v, the value at %s", r.Text, v, r.Pointer)
	}
}

// benchPod returns a pod of about 3 KB with two containers, similar to those of real controllers.
func benchPod(b *testing.B) []byte {
	b.Helper()
	env := make([]any, 12)
	for i := range env {
		env[i] = map[string]any{
			"name":  fmt.Sprintf("SOME_VARIABLE_%d", i),
			"value": strings.Repeat("v", 24),
		}
	}
	container := func(name string) map[string]any {
		return map[string]any{
			"name": name, "image": "registry.example/team/" + name + ":1.2",
			"imagePullPolicy": "IfNotPresent", "env": env[:6],
			"resources": map[string]any{
				"limits":   map[string]any{"memory": "128Mi"},
				"requests": map[string]any{"cpu": "100m"},
			},
			"volumeMounts": []any{map[string]any{
				"name": "kube-api-access-x", "readOnly": true,
				"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
			}},
		}
	}
	labels := map[string]any{"f:labels": map[string]any{".": map[string]any{}}}
	raw, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{
			"generateName": "app-5d9c-", "labels": map[string]any{"app": "app", "pod-template-hash": "5d9c"},
			"managedFields": []any{map[string]any{
				"manager":  "kube-controller-manager",
				"fieldsV1": map[string]any{"f:metadata": labels},
			}},
			"ownerReferences": []any{map[string]any{
				"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "app-5d9c", "uid": "u",
				"controller": true,
			}},
		},
		"spec": map[string]any{
			"containers": []any{container("app"), container("proxy")},
			"tolerations": []any{
				map[string]any{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},
			},
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

// BenchmarkScan compares Scan with json.Valid on the same bytes.
func BenchmarkScan(b *testing.B) {
	raw := benchPod(b)
	b.Run("scan", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := new(workload.Table).Scan(pod, raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("json.Valid", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			json.Valid(raw)
		}
	})
}

// TestWithEphemeralContainers checks that only the ephemeral containers of an update are used.
func TestWithEphemeralContainers(t *testing.T) {
	old := scan(t, pod, `{"metadata":{"labels":{"pod-template-hash":"h"}},
		"spec":{"serviceAccountName":"own","containers":[{"name":"a","image":"a:1"}],
		"ephemeralContainers":[{"name":"d1","image":"d:1"}],
		"volumes":[{"name":"v","image":{"reference":"v:1"}}]}}`)
	update := scan(t, pod, `{"metadata":{"annotations":{"kubernetes.io/config.mirror":"x"},
		"deletionTimestamp":"2026-01-01T00:00:00Z"},
		"spec":{"serviceAccountName":"other","containers":[{"name":"b","image":"b:1"}],
		"ephemeralContainers":[{"name":"d1","image":"d:2"},{"name":"d2"}]}}`)
	got := old.WithEphemeralContainers(update)
	want := []workload.Reference{
		{Name: "a", Pointer: "/spec/containers/0/image", Text: "a:1"},
		{Name: "volume/v", Pointer: "/spec/volumes/0/image/reference", Text: "v:1"},
		{Name: "d1", Pointer: "/spec/ephemeralContainers/0/image", Text: "d:2", Ephemeral: true},
		{Name: "d2", Missing: true, Ephemeral: true},
	}
	if diff := cmp.Diff(want, got.PodSpecs[0].References); diff != "" {
		t.Errorf("references: -want +got\n%s", diff)
	}
	if diff := cmp.Diff(old.Metadata, got.Metadata); diff != "" {
		t.Errorf("metadata: -want +got\n%s", diff)
	}
	if got.PodSpecs[0].Identity.ServiceAccount != "own" || len(old.PodSpecs[0].References) != 3 {
		t.Errorf("identity %+v, old references %v, want the old identity and 3 references",
			got.PodSpecs[0].Identity, old.PodSpecs[0].References)
	}
	if empty := scan(t, pod, `{}`).WithEphemeralContainers(update); len(empty.PodSpecs) != 0 {
		t.Errorf("pod specs of a pod without a spec = %+v, want none", empty.PodSpecs)
	}
}

// TestScanLongest checks that Scan keeps texts of the maximum length, and shortens longer ones so
// that different texts stay different.
func TestScanLongest(t *testing.T) {
	doc := func(name, image, pins string, secrets int) string {
		metadata := `"metadata":{"annotations":{"tagpin.dev/pins":"` + pins + `"}}`
		return `{` + metadata + `,"spec":{"template":{` + metadata + `,"spec":{
			"serviceAccountName":"` + name + `",
			"imagePullSecrets":[` + strings.Repeat(`{"name":"s"},`, secrets) + `{}],
			"containers":[{"name":"` + name + `","image":"` + image + `"}]}}}}`
	}
	deployment := workload.Kind{Group: "apps", Kind: "Deployment"}
	name, image := strings.Repeat("n", 253), strings.Repeat("i", ref.MaxLength)
	pins := strings.Repeat("p", workload.MaxAnnotations)
	for _, o := range []*workload.Object{
		scan(t, deployment, doc(name, image, pins, 64)),
		scan(t, deployment, doc(strings.Repeat(`\u006e`, 253), image, pins, 64)),
	} {
		spec := o.PodSpecs[0]
		r := spec.References[0]
		id := workload.Identity{ServiceAccount: name, PullSecrets: slices.Repeat([]string{"s"}, 64)}
		if r.Name != name || r.Text != image || !spec.Identity.Equal(id) {
			t.Errorf("reference %+v of %+v, want texts of the maximum length unchanged", r, spec.Identity)
		}
		for _, m := range []workload.Metadata{o.Metadata, spec.Metadata} {
			if got := m.Annotations[workload.AnnotationPins]; got != pins {
				t.Errorf("%s: annotation of %d bytes, want all %d", m.Pointer, len(got), len(pins))
			}
		}
	}
	one := scan(t, deployment, doc(name+"1", image+"1", pins+pins+"1", 200)).PodSpecs[0]
	two := scan(t, deployment, doc(name+"2", image+"2", pins+pins+"2", 200)).PodSpecs[0]
	a, b := one.References[0], two.References[0]
	if a.Name == b.Name || a.Text == b.Text || len(a.Text) <= ref.MaxLength {
		t.Errorf("references %+v and %+v, want different names and texts that are too long", a, b)
	}
	if n := len(one.Identity.PullSecrets); n != workload.MaxPullSecrets+1 {
		t.Errorf("%d pull secrets of 200, want %d", n, workload.MaxPullSecrets+1)
	}
	before := one.Metadata.Annotations[workload.AnnotationPins]
	after := two.Metadata.Annotations[workload.AnnotationPins]
	if before == after || max(len(before), len(a.Text)) > 2*ref.MaxLength {
		t.Errorf("annotations of %d and %d bytes, want short and different ones",
			len(before), len(after))
	}
}

// TestTooManyReferences checks the limit on images and pod templates in one object.
func TestTooManyReferences(t *testing.T) {
	jobSet := workload.Kind{Group: "jobset.x-k8s.io", Kind: "JobSet"}
	table, err := workload.NewTable(
		workload.Template{
			Group: jobSet.Group,
			Kind:  jobSet.Kind,
			Paths: []string{"spec.jobs[*].template"},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	list := func(element string, n int) string { return strings.Repeat(element+",", n-1) + element }
	for name, tt := range map[string]struct {
		kind workload.Kind
		doc  func(n int) string
	}{
		"containers": {pod, func(n int) string {
			return `{"spec":{"containers":[` + list(`{"image":"a"}`, n) + `]}}`
		}},
		"volumes": {pod, func(n int) string {
			return `{"spec":{"volumes":[` + list(`{"image":{"reference":"a"}}`, n) + `]}}`
		}},
		"templates": {jobSet, func(n int) string {
			return `{"spec":{"jobs":[` + list(`{"template":{"spec":{}}}`, n) + `]}}`
		}},
	} {
		if _, err := table.Scan(tt.kind, []byte(tt.doc(workload.MaxReferences))); err != nil {
			t.Errorf("Scan of %d %s = %v, want no error", workload.MaxReferences, name, err)
		}
		_, err := table.Scan(tt.kind, []byte(tt.doc(workload.MaxReferences+1)))
		if !errors.Is(err, workload.ErrTooManyReferences) {
			t.Errorf("Scan of %d %s = %v, want ErrTooManyReferences",
				workload.MaxReferences+1, name, err)
		}
	}
}
