// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/tagpin/tagpin/pkg/registration"
)

// TestDifference checks that the patch makes one registration of another, and keeps fields that the
// Go types don't have.
func TestDifference(t *testing.T) {
	kinds := []registration.Kind{{
		Group: "argoproj.io", Kind: "Rollout", Resource: "rollouts", Paths: []string{"spec.template"},
	}}
	empty := &configuration{
		ObjectMeta: metav1.ObjectMeta{Name: registrationName, ResourceVersion: "7"},
		Webhooks:   []webhook{{Name: "enforce.tagpin.dev"}, {Name: "keep.tagpin.dev"}},
	}
	states := map[string]*configuration{"empty": empty}
	for name, r := range map[string]*registration.Registration{
		"workloads": {}, "pods": podsOnly(), "kinds": {Kinds: kinds},
	} {
		wanted, err := r.Webhooks()
		if err != nil {
			t.Fatal(err)
		}
		states[name] = withRules(empty, wanted)
	}
	states["kinds"].Annotations = map[string]string{writtenBy: "v1.0.0", "a": "b"}
	states["pods"].OwnerReferences = []metav1.OwnerReference{{Kind: "Namespace", Name: ownSpace, UID: "u"}}
	states["pods"].Webhooks[1].ClientConfig.CABundle = []byte("CA")
	const unknown = `"name":"enforce.tagpin.dev","newer":{"than":"this"}`
	for from, live := range states {
		for to, want := range states {
			patch, err := difference(live, want)
			if err != nil || (patch == nil) != (from == to) {
				t.Errorf("%s to %s: difference = %s, %v", from, to, patch, err)
			}
			if patch == nil {
				continue
			}
			if !strings.Contains(string(patch), `"resourceVersion":"7"`) {
				t.Errorf("%s to %s: the patch %s applies to any version", from, to, patch)
			}
			liveJSON, _ := json.Marshal(live)
			stored := strings.Replace(string(liveJSON), `"name":"enforce.tagpin.dev"`, unknown, 1)
			patched, err := strategicpatch.StrategicMergePatch([]byte(stored), patch, configuration{})
			if err != nil {
				t.Fatalf("%s to %s: StrategicMergePatch = %v", from, to, err)
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
