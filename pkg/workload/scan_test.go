// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/workload"
)

var (
	pod        = workload.Kind{Kind: "Pod"}
	deployment = workload.Kind{Group: "apps", Kind: "Deployment"}
	jobSet     = workload.Kind{Group: "jobset.x-k8s.io", Kind: "JobSet"}
)

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
		Key: "/spec", Metadata: want.Metadata,
		Identity: workload.Identity{ServiceAccount: "sa", PullSecrets: []string{"s1", "s2"}},
		References: []workload.Reference{
			{Name: "q\"uo\\teé", Pointer: "/spec/containers/0/image", Text: "a:1"},
			{Name: "none"},
			{Name: "null"},
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
	if err == nil || !strings.HasPrefix(err.Error(), "Pod.x: no pod template is known") {
		t.Errorf("Scan of a %s = %v, want an error about the kind", unknown, err)
	}
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
		{Name: "d2", Ephemeral: true},
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
