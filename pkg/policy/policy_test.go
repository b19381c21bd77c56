// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

func TestPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern, image string
		want           bool
	}{
		{"docker.io/library/*", "nginx", true},
		{"docker.io/library/*", "docker.io/team/nginx", false},
		{"localhost:5000/team/*", "localhost:5000/team/x:1", true},
		{"localhost:5000/team/*", "localhost:5000/teammate/x", false},
		{"ghcr.io/a/b", "ghcr.io/a/b:9", true},
		{"ghcr.io/a/b", "ghcr.io/a/bc", false},
		{"ghcr.io/a/b", "ghcr.io/a/b/c", false},
		{"ghcr.io/a/b:1.2", "ghcr.io/a/b:1.2", true},
		{"ghcr.io/a/b:1.2", "ghcr.io/a/b:1.20", false},
		{"docker.io/library/auto:latest", "auto", true},
		{"docker.io/library/auto:latest", "auto:1", false},
		{"host:5000/a", "host:5000/a", true},
	} {
		p, err := policy.ParsePattern(tt.pattern)
		if err != nil {
			t.Errorf("ParsePattern(%q): %v", tt.pattern, err)
			continue
		}
		if got := p.Match(ref.MustParse(tt.image)); got != tt.want {
			t.Errorf("%q.Match(%q) = %t, want %t", tt.pattern, tt.image, got, tt.want)
		}
	}
	for _, s := range []string{"", "*", "nginx", "nginx*", "a/*/b", "a/b:*x", "ghcr.io/a@sha256:" + strings.Repeat("a", 64), "GHCR.io/A", "index.docker.io/a/b", "/x*", "bitnami/*", "library/*", "index.docker.io/library/*", "ghcr.io/A*"} {
		if p, err := policy.ParsePattern(s); err == nil {
			t.Errorf("ParsePattern(%q) = %+v, want an error", s, p)
		}
	}
}

func TestSkipOwner(t *testing.T) {
	s, err := policy.ParseSkipOwner("postgresql.cnpg.io/Cluster", []string{"system:serviceaccount:cnpg-system:*", "admin"})
	if err != nil {
		t.Fatal(err)
	}
	owner := workload.Owner{APIVersion: "postgresql.cnpg.io/v1", Kind: "Cluster", Name: "c"}
	for user, want := range map[string]bool{
		"system:serviceaccount:cnpg-system:operator": true, "admin": true, "administrator": false, "system:serviceaccount:other:x": false, "": false,
	} {
		if got := s.Match(owner, user); got != want {
			t.Errorf("Match(%q) = %t, want %t", user, got, want)
		}
	}
	owner.APIVersion = "evil.example/v1"
	if s.Match(owner, "admin") {
		t.Error("an owner of another group matches")
	}
	for _, tt := range []struct {
		owner string
		users []string
	}{{"", []string{"a"}}, {"a/b/C", []string{"a"}}, {"g/K", nil}, {"g/K", []string{"*"}}, {"g/K", []string{"a*b"}}} {
		if _, err := policy.ParseSkipOwner(tt.owner, tt.users); err == nil {
			t.Errorf("ParseSkipOwner(%q, %q): want an error", tt.owner, tt.users)
		}
	}
}

const (
	d1 = "@sha256:1111111111111111111111111111111111111111111111111111111111111111"
	d2 = "@sha256:2222222222222222222222222222222222222222222222222222222222222222"
)

func object(image, annotation string, never bool) *workload.Object {
	o := &workload.Object{Kind: workload.Kind{Group: "apps", Kind: "Deployment"}}
	spec := workload.PodSpec{Pointer: "/spec/template/spec", Annotated: true}
	spec.References = []workload.Reference{{Name: "app", Pointer: "/spec/template/spec/containers/0/image", Text: image, Never: never}}
	if annotation != "" {
		spec.Metadata.Annotations = map[string]string{workload.AnnotationPins: fmt.Sprintf(`{"app":%q}`, annotation)}
	}
	o.PodSpecs = []workload.PodSpec{spec}
	return o
}

// TestDecide is one reference through the rules, in their order.
func TestDecide(t *testing.T) {
	exempt, err := policy.ParsePattern("docker.io/exempt/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, old, annotation, text string
		output                      policy.Output
		never                       bool
		action                      policy.Action
		reason                      policy.Reason
		held                        string
	}{
		{name: "a tag", text: "nginx:1", action: policy.Resolve, reason: policy.Tag},
		{name: "the author's pin", text: "nginx:1" + d1, reason: policy.Pinned, held: "nginx:1" + d1},
		{name: "blank", text: "", reason: policy.Blank},
		{name: "refused by the kubelet", text: "r@junk", reason: policy.Invalid},
		{name: "never pulled", text: "nginx:1", never: true, reason: policy.NeverPull},
		{name: "exempt", text: "exempt/x:1", reason: policy.Exempt},
		{name: "unchanged, though unpinned", old: "nginx:1", text: "nginx:1", reason: policy.Unchanged},
		{name: "unchanged, though invalid", old: "r@junk", text: "r@junk", reason: policy.Unchanged},
		{name: "unchanged pin", old: "nginx:1" + d1, text: "nginx:1" + d1, reason: policy.Unchanged, held: "nginx:1" + d1},
		{name: "sticky", old: "nginx:1" + d1, text: "nginx:1", action: policy.Restore, reason: policy.Sticky, held: "nginx:1" + d1},
		{name: "sticky, exempted meanwhile", old: "exempt/x:1" + d1, text: "exempt/x:1", action: policy.Restore, reason: policy.Sticky, held: "exempt/x:1" + d1},
		{name: "sticky, never pulled meanwhile", old: "nginx:1" + d1, text: "nginx:1", never: true, action: policy.Restore, reason: policy.Sticky, held: "nginx:1" + d1},
		{name: "another tag", old: "nginx:1" + d1, text: "nginx:2", action: policy.Resolve, reason: policy.Tag},
		{name: "another spelling", old: "nginx:1" + d1, text: "docker.io/library/nginx:1", action: policy.Resolve, reason: policy.Tag},
		{name: "the author's own pin over ours", old: "nginx:1" + d1, text: "nginx:1" + d2, reason: policy.Pinned, held: "nginx:1" + d2},
		{name: "digest alone, by the annotation", output: policy.DigestOnly, old: "nginx" + d1, annotation: "nginx:1" + d1, text: "nginx:1", action: policy.Restore, reason: policy.Sticky, held: "nginx" + d1},
		{name: "digest alone, for another tag", output: policy.DigestOnly, old: "nginx" + d1, annotation: "nginx:1" + d1, text: "nginx", action: policy.Resolve, reason: policy.Tag},
		{name: "digest alone, not guessed", output: policy.DigestOnly, old: "nginx" + d1, text: "nginx", action: policy.Resolve, reason: policy.Tag},
		{name: "an entry for a digest that is not held", output: policy.DigestOnly, old: "nginx" + d1, annotation: "nginx:1" + d2, text: "nginx:1", action: policy.Resolve, reason: policy.Tag},
		{name: "the author's new tag beside the old digest", old: "nginx:2" + d1, annotation: "nginx:1" + d1, text: "nginx:2", action: policy.Restore, reason: policy.Sticky, held: "nginx:2" + d1},
		{name: "the tag before the author's new one", old: "nginx:2" + d1, annotation: "nginx:1" + d1, text: "nginx:1", action: policy.Resolve, reason: policy.Tag},
		{name: "output switched meanwhile", old: "nginx" + d1, annotation: "nginx:1" + d1, text: "nginx:1", action: policy.Restore, reason: policy.Sticky, held: "nginx" + d1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := policy.Input{Operation: policy.Create, Object: object(tt.text, "", tt.never)}
			if tt.old != "" {
				in.Operation, in.Old = policy.Update, object(tt.old, tt.annotation, false)
			}
			p := policy.Policy{Output: tt.output, Exempt: []policy.Pattern{exempt}}
			got, skip := p.Decide(in)
			if skip != "" || len(got) != 1 {
				t.Fatalf("Decide = %+v, %q", got, skip)
			}
			if d := got[0]; d.Action != tt.action || d.Reason != tt.reason || d.Held.String() != tt.held {
				t.Errorf("Decide(%q over %q) = %v, %s, held %q, want %v, %s, %q", tt.text, tt.old, d.Action, d.Reason, d.Held, tt.action, tt.reason, tt.held)
			}
		})
	}
}

// One object has one answer, also where it has several templates.
func TestKeptAcrossTemplates(t *testing.T) {
	in := func(texts ...string) *workload.Object {
		o := &workload.Object{Kind: workload.Kind{Group: "g", Kind: "Set"}}
		for i, text := range texts {
			pointer := fmt.Sprintf("/spec/jobs/%d/spec", i)
			o.PodSpecs = append(o.PodSpecs, workload.PodSpec{
				Pointer: pointer, Key: pointer, Shared: true,
				References: []workload.Reference{{Name: "app", Pointer: pointer + "/containers/0/image", Text: text}},
			})
		}
		return o
	}
	var p policy.Policy
	got, _ := p.Decide(policy.Input{Operation: policy.Update, Object: in("nginx:1", "nginx:1", "nginx:2"), Old: in("nginx:1" + d1)})
	want := []policy.Reason{policy.Sticky, policy.Kept, policy.Tag}
	for i, d := range got {
		if d.Reason != want[i] || d.Reason == policy.Kept && d.Held.String() != "nginx:1"+d1 {
			t.Errorf("template %d: %s, held %q, want %s", i, d.Reason, d.Held, want[i])
		}
	}
	if one, two := policy.EntryKey(in("a"), 0, "app"), policy.EntryKey(in("a", "b"), 0, "app"); one != two {
		t.Errorf("the key of an entry is %s, and %s beside another template", one, two)
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
	}{{policy.Create, "operator", policy.SkipOwned}, {policy.Create, "jane", ""}, {policy.Update, "operator", ""}} {
		if _, got := p.Decide(policy.Input{Operation: tt.operation, User: tt.user, Object: o}); got != tt.want {
			t.Errorf("%s by %s: skipped %q, want %q", tt.operation, tt.user, got, tt.want)
		}
	}
}

// refreshed is what becomes of an image when a marker of its template changes.
func refreshed(p policy.Policy, image, entry string) policy.Decision {
	now := object(image, entry, false)
	now.PodSpecs[0].Metadata.Annotations[workload.AnnotationRefresh] = "b"
	in := policy.Input{Operation: policy.Update, Object: now, Old: object(image, entry, false)}
	decisions, _ := p.Decide(in)
	return decisions[0]
}

// TestRefreshMovesOnlyOurPins has the texts that an author may write over a pin that tagpin made
// for nginx:1 or for nginx. Only what tagpin itself would have written is resolved anew.
func TestRefreshMovesOnlyOurPins(t *testing.T) {
	for _, tt := range []struct {
		output       policy.Output
		image, entry string
		moved        bool
	}{
		{policy.TagAndDigest, "nginx:1" + d1, "nginx:1" + d1, true},
		{policy.TagAndDigest, "nginx" + d1, "nginx" + d1, true}, // nginx means nginx:latest
		{policy.TagAndDigest, "nginx" + d1, "nginx:1" + d1, false},
		{policy.TagAndDigest, "nginx:2" + d1, "nginx:1" + d1, false},
		{policy.TagAndDigest, "docker.io/library/nginx:1" + d1, "nginx:1" + d1, false},
		{policy.TagAndDigest, "docker.io/library/nginx" + d1, "nginx" + d1, false},
		{policy.TagAndDigest, "nginx:1" + d2, "nginx:1" + d1, false},
		{policy.DigestOnly, "nginx" + d1, "nginx:1" + d1, true},
		{policy.DigestOnly, "nginx" + d1, "nginx" + d1, true},
		{policy.DigestOnly, "nginx:1" + d1, "nginx:1" + d1, true}, // from before the output changed
		{policy.DigestOnly, "nginx:2" + d1, "nginx:1" + d1, false},
		{policy.DigestOnly, "docker.io/library/nginx" + d1, "nginx:1" + d1, false},
	} {
		d := refreshed(policy.Policy{Output: tt.output}, tt.image, tt.entry)
		if got := d.Action == policy.Resolve; got != tt.moved {
			t.Errorf("output %s: a refresh of %s, made for %s: moved %t, want %t",
				tt.output, tt.image, tt.entry, got, tt.moved)
		}
	}
}

// TestOlderRestart has values of restartedAt before and after a request. An older one comes from an
// undo; what is no time is compared as a text.
func TestOlderRestart(t *testing.T) {
	for _, tt := range []struct {
		before, now string
		want        bool
	}{
		{"", "2026-01-01T12:00:00Z", true},
		{"2026-01-01T12:00:00Z", "2026-01-01T12:00:01Z", true},
		{"2026-01-01T12:00:01Z", "2026-01-01T12:00:00Z", false},
		{"2026-01-01T12:00:00+02:00", "2026-01-01T11:00:00Z", true},
		{"2026-01-01T12:00:00Z", "2026-01-01T13:00:00+02:00", false},
		{"2026-01-01T12:00:00.5Z", "2026-01-01T12:00:00.4Z", false},
		{"yesterday", "2026-01-01T12:00:00Z", true},
		{"2026-01-01T12:00:00Z", "2025", true},
		{"b", "a", true},
		{"2026-01-01T12:00:00Z", "", false},
	} {
		for marker, want := range map[string]bool{
			workload.AnnotationRestartedAt: tt.want,
			workload.AnnotationRefresh:     tt.now != "" && tt.now != tt.before,
		} {
			old, now := object("nginx:1"+d1, "", false), object("nginx:1"+d1, "", false)
			old.PodSpecs[0].Metadata.Annotations = map[string]string{marker: tt.before}
			now.PodSpecs[0].Metadata.Annotations = map[string]string{marker: tt.now}
			var p policy.Policy
			in := policy.Input{Operation: policy.Update, Object: now, Old: old}
			if got := p.Refreshes(in); got != want {
				t.Errorf("%s %q over %q: refreshes %t, want %t", marker, tt.now, tt.before, got, want)
			}
		}
	}
}

// TestKeptDigestIsSHA256 has new containers beside an author's pin of the same text: tagpin copies
// no digest that it would not write itself.
func TestKeptDigestIsSHA256(t *testing.T) {
	for digest, want := range map[string]policy.Reason{
		d1:                                    policy.Kept,
		"@sha512:" + strings.Repeat("1", 128): policy.Tag,
		"@sha384:" + strings.Repeat("1", 96):  policy.Tag,
	} {
		old, now := object("x:1"+digest, "", false), object("x:1"+digest, "", false)
		spec := &now.PodSpecs[0]
		spec.References = append(spec.References, workload.Reference{Name: "new", Text: "x:1"})
		var p policy.Policy
		got, _ := p.Decide(policy.Input{Operation: policy.Update, Object: now, Old: old})
		if got[1].Reason != want {
			t.Errorf("x:1 beside x:1%s: %s, want %s", digest, got[1].Reason, want)
		}
	}
}

// TestTagChangedWithoutDigest has an author's new pin over an old one. Before is the text that the
// digest stood for, if only the tag has changed.
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
		{"nginx:1" + d1, "nginx:1" + d1, "nginx:2" + d1, "", "nginx:2" + d1}, // undone
		{"nginx:1" + d1, "nginx:1" + d1, "nginx:2" + d1, "nginx:1", "nginx:1" + d1},
	} {
		var p policy.Policy
		got, _ := p.Decide(policy.Input{
			Operation: policy.Update,
			Object:    object(tt.text, tt.now, false),
			Old:       object(tt.old, tt.entry, false),
		})
		if got := got[0].Before.String(); got != tt.want {
			t.Errorf("%s over %s: Before = %q, want %q", tt.text, tt.old, got, tt.want)
		}
	}
}
