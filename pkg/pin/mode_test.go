// SPDX-License-Identifier: Apache-2.0

package pin_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// TestProposeUpdate checks which pins are restored and which are proposed when some texts of an
// object change in the mode Propose.
func TestProposeUpdate(t *testing.T) {
	const pinned = "pinned:1"
	held := pinOf(pinned, "held")
	for _, tt := range []struct {
		name     string
		old, new []string
		want     []string // the pin of each reference; "" if it stays as it is
		actions  []policy.Action
	}{
		{
			"one pin is restored and the rest is proposed",
			[]string{held, "old:1"},
			[]string{pinned, "old:1", "new:1"},
			[]string{held, pinOf("old:1", "docker.io/library/old:1"), pinOf("new:1", "docker.io/library/new:1")},
			[]policy.Action{policy.Restore, policy.Resolve, policy.Resolve},
		},
		{
			"a restored pin alone leads to no proposal",
			[]string{held, "old:1"},
			[]string{pinned, "old:1"},
			[]string{held, ""},
			[]policy.Action{policy.Restore, policy.Leave},
		},
		{
			"a new container takes the digest of a kept pin",
			[]string{held},
			[]string{held, pinned},
			[]string{"", held},
			[]policy.Action{policy.Leave, policy.Resolve},
		},
		{
			"nothing is proposed for a reference that is never pinned",
			[]string{"!never:1", held},
			[]string{"!never:1", held, "new:1"},
			[]string{"", "", pinOf("new:1", "docker.io/library/new:1")},
			[]policy.Action{policy.Leave, policy.Leave, policy.Resolve},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &pin.Pinner{Resolver: &backend{}}
			got := p.Pin(t.Context(), pin.Request{Input: policy.Input{
				Operation: policy.Update, Mode: policy.Propose,
				Object: deployment(t, tt.new...), Old: deployment(t, tt.old...),
			}})
			if diff := cmp.Diff(tt.want, texts(got)); diff != "" {
				t.Errorf("Pin: -want +got\n%s", diff)
			}
			var actions []policy.Action
			for _, o := range got.Outcomes {
				actions = append(actions, o.Action)
			}
			if diff := cmp.Diff(tt.actions, actions); diff != "" {
				t.Errorf("actions: -want +got\n%s", diff)
			}
		})
	}
}

// TestDigestOnlyRestores checks that a restored pin keeps its text, even if the output is digest
// only.
func TestDigestOnlyRestores(t *testing.T) {
	old := deployment(t, pinOf("nginx:1", "held"))
	p := &pin.Pinner{Policy: policy.Policy{Output: policy.DigestOnly}, Resolver: &backend{}}
	got := p.Pin(t.Context(), pin.Request{Input: policy.Input{
		Operation: policy.Update, Object: deployment(t, "nginx:1", "nginx:1"), Old: old,
	}}).Outcomes
	want := pinOf("nginx:1", "held")
	if got[0].Pin.String() != want || got[0].NewEntry.String() != want {
		t.Errorf("restored pin %s, entry %s, want %s for both", got[0].Pin, got[0].NewEntry, want)
	}
	short := pinOf("nginx", "held")
	if got[1].Pin.String() != short || got[1].NewEntry.String() != want {
		t.Errorf("new container: pin %s, entry %s, want %s and %s",
			got[1].Pin, got[1].NewEntry, short, want)
	}
}

// TestHeldEntry checks that a refresh whose lookup fails has the entry of the pin to keep, with the
// tag, and makes no pin.
func TestHeldEntry(t *testing.T) {
	const text = "missing:1"
	held := pinOf("missing", "held")
	object := func(image, marker string) *workload.Object {
		entry := `{"a":"` + pinOf(text, "held") + `"}`
		annotations := map[string]any{
			workload.AnnotationPins: entry, workload.AnnotationRefresh: marker,
		}
		return scan(t, "apps", "Deployment", map[string]any{"spec": map[string]any{
			"template": map[string]any{
				"metadata": map[string]any{"annotations": annotations},
				"spec": map[string]any{
					"containers": []any{map[string]any{"name": "a", "image": image}},
				},
			},
		}})
	}
	for _, image := range []string{held, text} {
		p := &pin.Pinner{Policy: policy.Policy{Output: policy.DigestOnly}, Resolver: &backend{}}
		got := p.Pin(t.Context(), pin.Request{Input: policy.Input{
			Operation: policy.Update, Object: object(image, "b"), Old: object(held, "a"),
		}}).Outcomes[0]
		if got.Err == nil || !got.Pin.IsZero() || !got.NewEntry.IsZero() {
			t.Errorf("%s: outcome %+v, want a failed lookup and no pin", image, got)
		}
		if want := pinOf(text, "held"); got.Held.String() != held || got.HeldEntry.String() != want {
			t.Errorf("%s: held %s, entry %s, want %s and %s", image, got.Held, got.HeldEntry, held, want)
		}
	}
}
