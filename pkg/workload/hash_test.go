// SPDX-License-Identifier: Apache-2.0

package workload_test

import "testing"

// TestHash checks which changes of a pod template change its hash.
func TestHash(t *testing.T) {
	hash := func(template string) uint64 {
		return scan(t, deployment, `{"metadata":{"name":"d","annotations":{"a":"b"}},
			"spec":{"replicas":1,"template":`+template+`}}`).PodSpecs[0].Hash
	}
	const spec = `"spec":{"containers":[{"image":"a:1","name":"a"}],"volumes":[{"image":{"reference":"v"}}]}`
	want := hash(`{` + spec + `}`)
	for _, same := range []string{
		`{"metadata":null,` + spec + `}`,
		`{"metadata":{"creationTimestamp":null,"annotations":{}},` + spec + `}`,
		`{"metadata":{"annotations":{"tagpin.dev/pins":"{}","tagpin.dev/refreshed":"{}"},
			"creationTimestamp":"2026-01-01T00:00:00Z"},` + spec + `}`,
		`{"spec":{"containers":[{"image":"b:2","name":"a"}],"volumes":[{"image":{"reference":"w"}}]}}`,
	} {
		if hash(same) != want {
			t.Errorf("%s: another hash than without metadata", same)
		}
	}
	labels := hash(`{"metadata":{"creationTimestamp":null,"labels":{"x":"y"}},` + spec + `}`)
	if hash(`{"metadata":{"labels":{"x":"y"}},`+spec+`}`) != labels {
		t.Error("the hash depends on the creation timestamp")
	}
	seen := map[uint64]string{want: spec, labels: "labels"}
	for _, other := range []string{
		`{"metadata":{"annotations":{"a":"b"}},` + spec + `}`,
		`{"metadata":{"annotations":{"tagpin.dev/refresh":"b"}},` + spec + `}`,
		`{"metadata":{"labels":{"x":"z"}},` + spec + `}`,
		`{"spec":{"containers":[{"image":"a:1","name":"b"}],"volumes":[{"image":{"reference":"v"}}]}}`,
		`{"spec":{"containers":[{"image":"a:1","name":"a"}],"volumes":[{"image":{"reference":"v"}},{}]}}`,
		`{"spec":{"containers":[{"image":"a:1","name":"a","x":1}],"volumes":[{"image":{"reference":"v"}}]}}`,
		`{"extra":1,` + spec + `}`,
	} {
		if same, ok := seen[hash(other)]; ok {
			t.Errorf("%s has the hash of %s", other, same)
		}
		seen[hash(other)] = other
	}
	if got := scan(t, pod, `{"spec":{"containers":[{"image":"a"}]}}`).PodSpecs[0].Hash; got != 0 {
		t.Errorf("hash of a Pod = %d, want 0", got)
	}
}
