// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// testCustom has objects of a kind that the API server neither completes nor validates, so that
// every field may be missing or null. No expression may fail for them, because that would deny the
// object.
func (c *conditions) testCustom(t *testing.T) {
	installRollouts(t)
	for spec, want := range map[string]int{
		`{"template":{"spec":{"containers":[{"name":"a","image":"a:1"}]}}}`:                                        1,
		`{"template":{"spec":{"containers":[{"name":"a","image":"a:1@` + digestOf("1") + `"}]}}}`:                  0,
		`{"template":{"spec":{"volumes":[{"name":"v","image":{"reference":"a:1"}}]}}}`:                             1,
		`{"template":{"spec":{"volumes":[{"name":"v","image":{"reference":"a:1@` + digestOf("1") + `"}}]}}}`:       0,
		`{"template":{"spec":{"containers":[{"name":"a"}]}}}`:                                                      1,
		`{"template":{"spec":{"containers":[{}]}}}`:                                                                1,
		`{"template":{"spec":{"containers":[],"initContainers":[],"ephemeralContainers":[],"volumes":[]}}}`:        0,
		`{"template":{"spec":{"containers":null,"initContainers":null,"volumes":null}}}`:                           0,
		`{"template":{"spec":{"volumes":[{},{"name":"v"},{"name":"w","emptyDir":{}},{"name":"x","image":null}]}}}`: 0,
		`{"template":{"spec":{"volumes":[{"name":"v","image":{}}]}}}`:                                              1,
		`{"template":{"spec":{}}}`:   0,
		`{"template":{"spec":null}}`: 0,
		`{"template":{}}`:            0,
		`{"template":null}`:          0,
		`{"template":{"metadata":null,"spec":{"containers":[{"name":"a","image":null}]}}}`: 1,
		`{}`:   0,
		`null`: 0,
	} {
		o := custom(t, spec)
		n, _ := c.created(t, "enforce", o)
		if n != want {
			t.Errorf("created %s: %d calls, want %d", spec, n, want)
		}
		other := custom(t, `{"template":{"spec":{"containers":[{"name":"b","image":"b:1"}]}}}`)
		for _, tt := range []struct {
			what string
			spec any
			want int
		}{
			{"left unchanged", o.Object["spec"], 0},
			{"given a container", other.Object["spec"], 1},
		} {
			got := c.updated(t, "enforce", o, func(changed client.Object) {
				changed.(*unstructured.Unstructured).Object["spec"] = tt.spec
			})
			if got != tt.want {
				t.Errorf("%s %s: %d calls, want %d", tt.what, spec, got, tt.want)
			}
		}
	}
}

// custom returns a Rollout with a spec in JSON. If it is null, the Rollout has no spec.
func custom(t *testing.T, spec string) *unstructured.Unstructured {
	t.Helper()
	var parsed map[string]any
	if err := json.Unmarshal([]byte(spec), &parsed); err != nil {
		t.Fatal(err)
	}
	return rollout(parsed)
}
