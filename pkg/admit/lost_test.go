// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// TestLostConnection checks that a review ends when its connection has lost its place.
func TestLostConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
			<-ctx.Done()
			return resolve.Result{}, resolve.Late(ctx, req.Ref)
		}
		h := newHandler(t, policy.Enforce, resolve.Func(hang))
		h.WhenLost = func(_ *http.Request, do func()) { time.AfterFunc(time.Second, do) }
		start := time.Now()
		pod := `{"spec":{"containers":[{"name":"a","image":"ghcr.io/a/b:1"}]}}`
		post(t, h, review("CREATE", "", "Pod", pod, ""))
		if took := time.Since(start); took != time.Second {
			t.Errorf("the review ended after %s, want it to end when the connection was lost", took)
		}
	})
}
