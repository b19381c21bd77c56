// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// TestImpatientController checks what becomes of an object whose controller must not wait any
// longer. A Pod is denied whatever onFailure says, because its controller tries again. A Job is
// created once only, and its pods are reviewed too.
func TestImpatientController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
			<-ctx.Done()
			return resolve.Result{}, resolve.Late(ctx, req.Ref)
		}
		h := newHandler(t, policy.Enforce, resolve.Func(hangs))
		h.Pinner.Patience = new(pin.Patience)
		h.OnFailure = failure.Actions{failure.Unavailable: failure.Allow}
		const owner = `{"metadata":{"ownerReferences":[{"apiVersion":"batch/v1","kind":"CronJob","name":"a",` +
			`"uid":"1","controller":true}]},"spec":`
		const spec = `{"containers":[{"name":"a","image":"nginx"}]}`
		user := map[string]any{"userInfo": map[string]any{
			"username": "system:serviceaccount:kube-system:cronjob-controller",
		}}
		pod := withFields(t, review("CREATE", "", "Pod", owner+spec+"}", ""), user)
		job := withFields(t, review("CREATE", "batch", "Job", owner+`{"template":{"spec":`+spec+"}}}", ""), user)
		for range 10 { // until no time is left
			post(t, h, pod)
		}
		for _, tt := range []struct {
			body    []byte
			allowed bool
		}{{pod, false}, {job, true}} {
			r, _ := post(t, h, tt.body)
			if r.Allowed != tt.allowed {
				t.Errorf("%.120s: %+v, want it allowed: %t", tt.body, r, tt.allowed)
			}
			if r.Allowed {
				continue
			}
			if r.Result.Code != http.StatusTooManyRequests || r.Result.Details != nil ||
				!strings.Contains(r.Result.Message, "controllers have waited long enough for images of namespace") {
				t.Errorf("%+v, want 429 without Retry-After, and the reason", r.Result)
			}
		}
	})
}
