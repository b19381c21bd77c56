// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// Of the reviews of one namespace that wait for a registry, only some may; the others are answered
// soon, without what they wait for. Reviews that are answered at once, and those of others, are not
// concerned.
func TestWaitingReviewsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
			if strings.HasPrefix(req.Ref.Text(), "nginx") {
				return registry(ctx, req)
			}
			<-ctx.Done()
			return resolve.Result{}, resolve.ErrUnavailable
		}
		answers := &resolve.Answers{}
		defer answers.Close()
		h := newHandler(t, policy.Enforce, &resolve.Cache{Next: resolve.Func(hangs), Answers: answers})
		h.Waiting = &fair.Room{Capacity: 16}
		open := make(chan struct{})
		close(open)
		var loud []<-chan *httptest.ResponseRecorder
		for range 10 {
			loud = append(loud, send(h, large("loud", 10, "hangs"), open))
		}
		time.Sleep(time.Second)
		if s := h.Waiting.Stats(); s.InUse != 4 || s.Refused != 6 {
			t.Errorf("of ten reviews %+v, want 4 that wait", s)
		}
		loud = slices.DeleteFunc(loud, func(answers <-chan *httptest.ResponseRecorder) bool {
			if len(answers) == 0 {
				return false
			}
			r := responseOf(t, answers)
			const want = "no answer yet, and too many reviews are waiting beside this one of namespace loud"
			if r.Allowed || r.Result.Code != http.StatusTooManyRequests || r.Result.Details.RetryAfterSeconds != 1 {
				t.Errorf("one too many: %+v, want it denied for now", r.Result)
			}
			if !strings.Contains(r.Result.Message, want) {
				t.Errorf("one too many is told %q, want the reason", r.Result.Message)
			}
			return true
		})
		if len(loud) != 4 {
			t.Errorf("%d reviews are not answered, want those that may wait", len(loud))
		}
		other := send(h, large("other", 10, "hangs"), open)
		if r := responseOf(t, send(h, large("loud", 10, "nginx"), open)); !r.Allowed || r.Patch == nil {
			t.Errorf("what is answered at once: %+v, want it pinned", r.Result)
		}
		time.Sleep(time.Second)
		if s := h.Waiting.Stats(); s.InUse != 5 {
			t.Errorf("with another namespace's review %+v, want it to wait too", s)
		}
		<-other
		for _, answers := range loud {
			<-answers
		}
		if s := h.Waiting.Stats(); s.InUse != 0 {
			t.Errorf("in the end %+v", s)
		}
	})
}
