// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"encoding/json"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/pkg/registration"
)

// TestDifference checks that the patch makes one registration of another, and keeps fields that the
// Go types don't have.
func TestDifference(t *testing.T) {
	kinds := []registration.Kind{{
		Group: "argoproj.io", Kind: "Rollout", Resource: "rollouts", Paths: []string{"spec.template"},
	}}
	empty := &configuration{
		ObjectMeta: metav1.ObjectMeta{Name: registrationName},
		Webhooks:   []webhook{{Name: "enforce.tagpin.dev"}, {Name: "keep.tagpin.dev"}},
	}
	states := map[string]*configuration{
		"empty":     empty,
		"workloads": withRules(empty, &registration.Registration{}),
		"pods":      withRules(empty, podsOnly()),
		"kinds":     withRules(empty, &registration.Registration{Kinds: kinds}),
	}
	states["kinds"].Annotations = map[string]string{writtenBy: "v1.0.0", "a": "b"}
	states["pods"].OwnerReferences = []metav1.OwnerReference{{Kind: "Namespace", Name: ownSpace}}
	states["pods"].Webhooks[1].ClientConfig.CABundle = []byte("CA")
	const unknown = `"name":"enforce.tagpin.dev","newer":{"than":"this"}`
	for from, live := range states {
		for to, want := range states {
			operations, err := difference(live, want)
			if err != nil || (len(operations) == 0) != (from == to) {
				t.Errorf("%s to %s: difference = %v, %v", from, to, operations, err)
			}
			operationsJSON, _ := json.Marshal(operations)
			liveJSON, _ := json.Marshal(live)
			stored := strings.Replace(string(liveJSON), `"name":"enforce.tagpin.dev"`, unknown, 1)
			patch, err := jsonpatch.DecodePatch(operationsJSON)
			if err != nil {
				t.Fatal(err)
			}
			patched, err := patch.Apply([]byte(stored))
			if err != nil {
				t.Fatalf("%s to %s: Apply = %v", from, to, err)
			}
			var got configuration
			if err := json.Unmarshal(patched, &got); err != nil {
				t.Fatal(err)
			}
			gotJSON, _ := json.Marshal(&got)
			wantJSON, _ := json.Marshal(want)
			if diff := cmp.Diff(string(wantJSON), string(gotJSON)); diff != "" {
				t.Errorf("%s to %s: -want +got\n%s", from, to, diff)
			}
			if !strings.Contains(string(patched), `"newer":{"than":"this"}`) {
				t.Errorf("%s to %s: the patch removes a field that it does not know", from, to)
			}
		}
	}
}
