// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/audit"
)

// TestStaysGone checks that an image that was gone stays so while its registry does not answer, and
// that an answer ends this.
func TestStaysGone(t *testing.T) {
	f := newFixture(t)
	push := f.pusher(t)
	lost := push.image("lost:1", "lost")
	push.remove("lost@" + lost)
	push.image("lost:1", "new")
	at := f.host + "/lost:1"
	pinned, other := one(at+"@"+lost, ""), one(f.host+"/other:1", f.host+"/other@"+nothing)
	pinned.Containers[0].ImageID = f.host + "/lost@" + lost
	other.Name = "q"
	present := push.image("app:1", "one")
	up := one(f.host+"/app:1", f.host+"/app@"+present)
	up.Name = "r"
	missing := &audit.LastMissing{}
	for _, tt := range []struct {
		name   string
		status int32
		late   bool
		gone   int
		detail string
	}{
		{"found to be gone", 0, false, 2, "404"},
		{"the registry is down", 503, false, 2, "an earlier audit did not find it, and now: "},
		{"there is no time", 503, true, 2, "and now: not looked up in time"},
		{"the registry is still down", 503, false, 2, "503"},
		{"the registry is up", 0, false, 2, "no longer has the digest: " + f.host + ": 404"},
	} {
		f.status.Store(tt.status)
		a := f.auditor(t)
		a.LastMissing = missing
		if tt.late {
			a.Until = time.Now().Add(-time.Second)
		}
		r := report(t, a, pinned, other, up)
		details := strings.Join(r.Containers[0].Details, "; ") + strings.Join(r.Containers[1].Details, "; ")
		if r.Summary.States[audit.Gone] != tt.gone || !strings.Contains(details, tt.detail) {
			t.Errorf("%s: %v, %s, want %d gone, %s", tt.name, r.Summary.States, details, tt.gone, tt.detail)
		}
	}
	push.image("lost:1", "lost")
	push.image("other:1", "one")
	for _, status := range []int32{0, 503} {
		f.status.Store(status)
		a := f.auditor(t)
		a.LastMissing = missing
		r := report(t, a, pinned, one(f.host+"/other:1", f.host+"/other@"+present), up)
		if n := r.Summary.States[audit.Gone]; n > 0 {
			t.Errorf("status %d: %d containers are gone after the registry had them, want none", status, n)
		}
	}
}

// TestAnswersAgain checks that any answer ends it that an image counts as gone because of the last
// report, even one that does not say whether the image is there.
func TestAnswersAgain(t *testing.T) {
	f := newFixture(t)
	gone := one(f.host+"/other:1", f.host+"/other@"+nothing)
	for _, status := range []int32{401, 403, 200} {
		missing := &audit.LastMissing{}
		for _, tt := range []struct {
			status int32
			gone   int
		}{{0, 1}, {503, 1}, {status, 0}, {503, 0}} {
			f.status.Store(tt.status)
			a := f.auditor(t)
			a.LastMissing = missing
			if r := report(t, a, gone); r.Summary.States[audit.Gone] != tt.gone {
				t.Errorf("gone after the status %d, with %d then: %v, want %d",
					tt.status, status, r.Summary.States, tt.gone)
			}
		}
	}
}
