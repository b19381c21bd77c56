// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	d1 = "@sha256:1111111111111111111111111111111111111111111111111111111111111111"
	d2 = "@sha256:2222222222222222222222222222222222222222222222222222222222222222"
)

// object returns a Deployment with one container. If entry is not empty, tagpin's annotation has it
// for the container. never means that the kubelet never pulls the image.
func object(image, entry string, never bool) *workload.Object {
	o := &workload.Object{Kind: workload.Kind{Group: "apps", Kind: "Deployment"}}
	spec := workload.PodSpec{Key: "/spec/template/spec"}
	spec.References = []workload.Reference{{
		Name: "app", Pointer: "/spec/template/spec/containers/0/image", Text: image, Never: never,
	}}
	if entry != "" {
		spec.Metadata.Annotations = map[string]string{
			workload.AnnotationPins: fmt.Sprintf(`{"app":%q}`, entry),
		}
	}
	o.PodSpecs = []workload.PodSpec{spec}
	return o
}

// TestDecide applies rules 3 to 6 to one reference, in their order.
func TestDecide(t *testing.T) {
	exempt, err := policy.ParsePattern("docker.io/exempt/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, old, entry, text string
		output                 policy.Output
		never                  bool
		action                 policy.Action
		reason                 policy.Reason
		held                   string
	}{
		{name: "a tag", text: "nginx:1", action: policy.Resolve, reason: policy.Tag},
		{name: "the author's pin", text: "nginx:1" + d1, reason: policy.Pinned, held: "nginx:1" + d1},
		{name: "blank", text: "", reason: policy.Blank},
		{name: "refused by the kubelet", text: "r@junk", reason: policy.Invalid},
		{name: "never pulled", text: "nginx:1", never: true, reason: policy.NeverPull},
		{name: "exempt", text: "exempt/x:1", reason: policy.Exempt},
		{name: "unchanged without a digest", old: "nginx:1", text: "nginx:1", reason: policy.Unchanged},
		{name: "unchanged and invalid", old: "r@junk", text: "r@junk", reason: policy.Unchanged},
		{
			name: "unchanged pin", old: "nginx:1" + d1, text: "nginx:1" + d1,
			reason: policy.Unchanged, held: "nginx:1" + d1,
		},
		{
			name: "sticky", old: "nginx:1" + d1, text: "nginx:1",
			action: policy.Restore, reason: policy.Sticky, held: "nginx:1" + d1,
		},
		{
			name: "sticky, exempt since", old: "exempt/x:1" + d1, text: "exempt/x:1",
			action: policy.Restore, reason: policy.Sticky, held: "exempt/x:1" + d1,
		},
		{
			name: "sticky, never pulled since", old: "nginx:1" + d1, text: "nginx:1", never: true,
			action: policy.Restore, reason: policy.Sticky, held: "nginx:1" + d1,
		},
		{
			name: "another tag", old: "nginx:1" + d1, text: "nginx:2",
			action: policy.Resolve, reason: policy.Tag,
		},
		{
			name: "another spelling", old: "nginx:1" + d1, text: "docker.io/library/nginx:1",
			action: policy.Resolve, reason: policy.Tag,
		},
		{
			name: "the author's pin over tagpin's", old: "nginx:1" + d1, text: "nginx:1" + d2,
			reason: policy.Pinned, held: "nginx:1" + d2,
		},
		{
			name: "digest only, with an entry for the text", output: policy.DigestOnly, old: "nginx" + d1,
			entry: "nginx:1" + d1, text: "nginx:1",
			action: policy.Restore, reason: policy.Sticky, held: "nginx" + d1,
		},
		{
			name: "digest only, with an entry for another tag", output: policy.DigestOnly, old: "nginx" + d1,
			entry: "nginx:1" + d1, text: "nginx",
			action: policy.Resolve, reason: policy.Tag,
		},
		{
			name:   "digest only, without an entry",
			output: policy.DigestOnly, old: "nginx" + d1, text: "nginx",
			action: policy.Resolve, reason: policy.Tag,
		},
		{
			name:   "digest only, with an entry for another digest",
			output: policy.DigestOnly, old: "nginx" + d1,
			entry: "nginx:1" + d2, text: "nginx:1",
			action: policy.Resolve, reason: policy.Tag,
		},
		{
			name: "the author's new tag before the old digest", old: "nginx:2" + d1,
			entry: "nginx:1" + d1, text: "nginx:2",
			action: policy.Restore, reason: policy.Sticky, held: "nginx:2" + d1,
		},
		{
			name: "the tag that the author has replaced", old: "nginx:2" + d1, entry: "nginx:1" + d1,
			text:   "nginx:1",
			action: policy.Resolve, reason: policy.Tag,
		},
		{
			name: "digest only before the output was changed", old: "nginx" + d1, entry: "nginx:1" + d1,
			text:   "nginx:1",
			action: policy.Restore, reason: policy.Sticky, held: "nginx" + d1,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := policy.Input{Operation: policy.Create, Object: object(tt.text, "", tt.never)}
			if tt.old != "" {
				in.Operation, in.Old = policy.Update, object(tt.old, tt.entry, false)
			}
			p := policy.Policy{Output: tt.output, Exempt: []policy.Pattern{exempt}}
			plan := p.Decide(in)
			if plan.Skipped != "" || len(plan.Decisions) != 1 {
				t.Fatalf("Decide(%q over %q) = %+v, want one decision", tt.text, tt.old, plan)
			}
			d := plan.Decisions[0]
			if d.Action != tt.action || d.Reason != tt.reason || d.Held.String() != tt.held {
				t.Errorf("Decide(%q over %q) = %v, %s, held %q, want %v, %s, %q", tt.text, tt.old,
					d.Action, d.Reason, d.Held, tt.action, tt.reason, tt.held)
			}
		})
	}
}

// TestLeavesShortNames tests the policy that leaves names without a host alone, as if they were
// exempt: pins that are there already stay.
func TestLeavesShortNames(t *testing.T) {
	p := policy.Policy{LeaveShortNames: true}
	for _, tt := range []struct {
		old, text string
		want      policy.Reason
	}{
		{"", "nginx:1", policy.ShortName},
		{"", "library/nginx:1", policy.ShortName},
		{"", "docker.io/nginx:1", policy.Tag},
		{"", "index.docker.io/library/nginx", policy.Tag},
		{"", "nginx:1" + d1, policy.Pinned},
		{"nginx:1", "nginx:2", policy.ShortName},
		{"nginx:1" + d1, "nginx:1", policy.Sticky},
		{"nginx:1" + d1, "nginx:2", policy.ShortName},
	} {
		for _, mode := range []policy.Mode{policy.Enforce, policy.Propose, policy.Keep} {
			want := tt.want
			if mode == policy.Keep && want == policy.Tag {
				want = policy.NoNewPins
			}
			in := policy.Input{Operation: policy.Create, Mode: mode, Object: object(tt.text, "", false)}
			if tt.old != "" {
				in.Operation, in.Old = policy.Update, object(tt.old, "", false)
			}
			if got := p.Decide(in).Decisions[0].Reason; got != want {
				t.Errorf("%s: Decide(%q over %q) = %s, want %s", mode, tt.text, tt.old, got, want)
			}
		}
	}
}

// TestSameTextAcrossTemplates tests that one object gets one digest for one text, in all its
// templates. The mode Keep leaves the new references alone.
func TestSameTextAcrossTemplates(t *testing.T) {
	set := func(texts ...string) *workload.Object {
		o := &workload.Object{
			Kind: workload.Kind{Group: "g", Kind: "Set"}, Custom: true, Several: true,
		}
		for i, text := range texts {
			pointer := fmt.Sprintf("/spec/jobs/%d/spec", i)
			o.PodSpecs = append(o.PodSpecs, workload.PodSpec{
				Key: pointer,
				References: []workload.Reference{
					{Name: "app", Pointer: pointer + "/containers/0/image", Text: text},
				},
			})
		}
		return o
	}
	var p policy.Policy
	for mode, want := range map[policy.Mode][3]string{
		policy.Enforce: {"sticky nginx:1" + d1, "kept nginx:1" + d1, "tag "},
		policy.Keep:    {"sticky nginx:1" + d1, "keep ", "keep "},
	} {
		plan := p.Decide(policy.Input{
			Operation: policy.Update, Mode: mode,
			Object: set("nginx:1", "nginx:1", "nginx:2"),
			Old:    set("nginx:1" + d1),
		})
		for i, d := range plan.Decisions {
			if got := string(d.Reason) + " " + d.Held.String(); got != want[i] {
				t.Errorf("%s: Decide(template %d) = %q, want %q", mode, i, got, want[i])
			}
		}
	}
}

func TestSkippedOwnersHoldForCreationAlone(t *testing.T) {
	s, err := policy.ParseSkipOwner("g/K", []string{"operator"})
	if err != nil {
		t.Fatal(err)
	}
	p := policy.Policy{SkipOwners: []policy.SkipOwner{s}}
	o := object("nginx", "", false)
	o.Kind = workload.Kind{Kind: "Pod"}
	o.Metadata.Controller = workload.Owner{APIVersion: "g/v1", Kind: "K"}
	for _, tt := range []struct {
		operation policy.Operation
		user      string
		want      policy.Reason
	}{
		{policy.Create, "operator", policy.SkipOwned},
		{policy.Create, "jane", ""},
		{policy.Update, "operator", ""},
	} {
		in := policy.Input{Operation: tt.operation, User: tt.user, Object: o}
		if got := p.Decide(in).Skipped; got != tt.want {
			t.Errorf("Decide(%s by %s) skips for %q, want %q", tt.operation, tt.user, got, tt.want)
		}
	}
}

// TestKeptDigestIsSHA256 tests a new container beside an author's pin of the same text. tagpin only
// writes sha256 digests, so it copies no others.
func TestKeptDigestIsSHA256(t *testing.T) {
	for digest, want := range map[string]policy.Reason{
		d1:                                    policy.SameText,
		"@sha512:" + strings.Repeat("1", 128): policy.Tag,
		"@sha384:" + strings.Repeat("1", 96):  policy.Tag,
	} {
		old, now := object("x:1"+digest, "", false), object("x:1"+digest, "", false)
		spec := &now.PodSpecs[0]
		spec.References = append(spec.References, workload.Reference{Name: "new", Text: "x:1"})
		var p policy.Policy
		plan := p.Decide(policy.Input{Operation: policy.Update, Object: now, Old: old})
		if got := plan.Decisions[1].Reason; got != want {
			t.Errorf("Decide(x:1 beside x:1%s) = %s, want %s", digest, got, want)
		}
	}
}

// TestTagChangedWithoutDigest tests an author's new pin over an old one. If the tag has changed and
// the digest has not, Before is the text that the digest stood for.
func TestTagChangedWithoutDigest(t *testing.T) {
	for _, tt := range []struct {
		old, entry, text, want string
		now                    string // the entry in the new object
	}{
		{"nginx:1" + d1, "", "nginx:2" + d1, "nginx:1", ""},
		{"nginx:1" + d1, "nginx:1" + d1, "nginx:2" + d1, "nginx:1", ""},
		{"nginx:1" + d1, "", "docker.io/library/nginx:2" + d1, "nginx:1", ""},
		{"nginx:1" + d1, "", "docker.io/library/nginx:1" + d1, "", ""},
		{"nginx:1" + d1, "", "nginx:2" + d2, "", ""},
		{"nginx:1" + d1, "", "nginx" + d1, "", ""},
		{"nginx" + d1, "", "nginx:2" + d1, "", ""}, // the author may add the right tag
		{"nginx" + d1, "nginx:1" + d1, "nginx:2" + d1, "nginx:1", ""},
		{"nginx" + d1, "nginx:1" + d1, "nginx:1" + d1, "", ""},
		{"nginx:1" + d1, "", "mirror.example/nginx:2" + d1, "", ""},
		{"nginx:1", "", "nginx:2" + d1, "", ""},
		{"r@junk", "", "nginx:2" + d1, "", ""},
		{"nginx:1" + d1, "nginx:1" + d1, "nginx:2" + d1, "", "nginx:2" + d1}, // an undo
		{"nginx:1" + d1, "nginx:1" + d1, "nginx:2" + d1, "nginx:1", "nginx:1" + d1},
	} {
		var p policy.Policy
		plan := p.Decide(policy.Input{
			Operation: policy.Update,
			Object:    object(tt.text, tt.now, false),
			Old:       object(tt.old, tt.entry, false),
		})
		if got := plan.Decisions[0].Before.String(); got != tt.want {
			t.Errorf("Decide(%s over %s).Before = %q, want %q", tt.text, tt.old, got, tt.want)
		}
	}
}

func TestMode(t *testing.T) {
	for mode, want := range map[policy.Mode]string{
		policy.Enforce: "enforce", policy.Propose: "dry-run", policy.Keep: "keep",
	} {
		if got := mode.String(); got != want {
			t.Errorf("Mode(%d).String() = %s, want %s", int(mode), got, want)
		}
	}
}
