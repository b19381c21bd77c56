// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"context"
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
		pod := review("CREATE", "", "Pod", owner+spec+"}", "")
		job := review("CREATE", "batch", "Job", owner+`{"template":{"spec":`+spec+"}}}", "")
		const words = "controllers have waited long enough for images of namespace"
		for i, tt := range []struct {
			body    []byte
			allowed bool
			want    string
		}{
			{pod, true, "no answer within the time"}, // which the API server gives
			{pod, false, words},
			{job, true, words},
		} {
			r, _ := post(t, h, tt.body)
			lines := postLogged(t, h, tt.body)["lookup failed"]
			if r.Allowed != tt.allowed || i > 0 && len(lines) == 1 && !strings.Contains(lines[0]["cause"].(string), tt.want) {
				t.Errorf("review %d: %+v, %v, want allowed %t with %q", i, r, lines, tt.allowed, tt.want)
			}
		}
	})
}
