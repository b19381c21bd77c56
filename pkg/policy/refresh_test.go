// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"testing"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// refreshed returns the decision about an image when a marker of its template changes.
func refreshed(p policy.Policy, image, entry string) policy.Decision {
	now := object(image, entry, false)
	now.PodSpecs[0].Metadata.Annotations[workload.AnnotationRefresh] = "b"
	in := policy.Input{Operation: policy.Update, Object: now, Old: object(image, entry, false)}
	return p.Decide(in).Decisions[0]
}

// TestRefreshMovesOnlyOurPins tests the texts that an author may write over a pin that tagpin made
// for nginx:1 or for nginx. A refresh only replaces what tagpin itself would have written.
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
		{policy.DigestOnly, "nginx:1" + d1, "nginx:1" + d1, true}, // made before the output was changed
		{policy.DigestOnly, "nginx:2" + d1, "nginx:1" + d1, false},
		{policy.DigestOnly, "docker.io/library/nginx" + d1, "nginx:1" + d1, false},
	} {
		d := refreshed(policy.Policy{Output: tt.output}, tt.image, tt.entry)
		if got := d.Action == policy.Resolve; got != tt.moved {
			t.Errorf("output %s: a refresh of %s with the entry %s resolves it = %t, want %t",
				tt.output, tt.image, tt.entry, got, tt.moved)
		}
	}
}

// TestOlderRestart tests values of the markers before and after a request. An older restartedAt
// comes from an undo and is no refresh, in whatever format the tool writes it. A value that is not
// a time only has to differ.
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

		{"2026-01-01 12:00:00.1 +0000 UTC m=+5.0", "2026-01-01 12:00:00.2 +0000 UTC m=+0.1", true},
		{"2026-01-01 12:00:00.2 +0000 UTC m=+0.1", "2026-01-01 12:00:00.1 +0000 UTC m=+5.0", false},
		{"2026-01-01 12:00:00 +0000 UTC", "2026-01-01 13:00:00 +0545 +0545", false},
		{"2026-01-01 12:00:00 +0100 CET m=+1", "2026-01-01T11:00:01Z", true},
		{"2026-01-01 12:00:00 +0100 CET m=+1", "2026-01-01T10:59:59Z", false},
		{"2026-01-01 12:00:00", "2026-01-01 11:00:00", true}, // the zone is unknown

		{"Thu Jan  1 12:00:01 UTC 2026", "Thu Jan  1 12:00:02 UTC 2026", true},
		{"Thu Jan  1 12:00:01 UTC 2026", "Thu Jan  1 12:00:00 UTC 2026", false},
		{"Thu, 01 Jan 2026 12:00:01 +0000", "Thu, 01 Jan 2026 13:00:00 +0100", false},

		{"1767268800", "1767268801", true},
		{"1767268801", "1767268800", false},
		{"1767268800001", "1767268800000", false},
		{"1767268800000001", "1767268800000000", false},
		{"1767268800000000001", "1767268800000000000", false},
		{"1767268800001", "1767268800", false},
		{"1767268800", "2026-01-01T11:59:59Z", false},
		{"2026-01-01T11:59:59Z", "1767268800", true},
		{"17672688001", "17672688000", true},           // not as many digits as a Unix time has
		{"-176726880", "-176726881", true},             // neither
		{"9999999999999999999", "1767268800000", true}, // out of range
	} {
		for marker, want := range map[string]bool{
			workload.AnnotationRestartedAt: tt.want,
			workload.AnnotationRefresh:     tt.now != "" && tt.now != tt.before,
		} {
			pin := "nginx:1" + d1
			old, now := object(pin, pin, false), object(pin, pin, false)
			old.PodSpecs[0].Metadata.Annotations[marker] = tt.before
			now.PodSpecs[0].Metadata.Annotations[marker] = tt.now
			var p policy.Policy
			in := policy.Input{Operation: policy.Update, Object: now, Old: old}
			if got := p.Decide(in).Decisions[0].Reason == policy.Refresh; got != want {
				t.Errorf("Decide(%s: %q over %q) refreshes = %t, want %t",
					marker, tt.now, tt.before, got, want)
			}
		}
	}
}
