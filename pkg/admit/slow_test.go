// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	registries "github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// TestImagesAreBounded checks that the large objects of one namespace share its places while their
// images are looked up, and that those without a place are denied at once. Objects with few images,
// and those of other namespaces, are pinned meanwhile.
func TestImagesAreBounded(t *testing.T) {
	containers := func(image string, n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`{"name":"c%d","image":%q}`, i, image)
		}
		return fmt.Sprintf(`{"spec":{"containers":[%s]}}`, strings.Join(list, ","))
	}
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		resolver := func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
			if strings.HasPrefix(req.Ref.Text(), "hangs") {
				<-release
				return resolve.Result{}, failure.Unavailable
			}
			return registry(ctx, req)
		}
		h := newHandler(t, policy.Enforce, resolve.Func(resolver))
		h.Images = &fair.Room{Capacity: 1200}
		open := make(chan struct{})
		close(open)
		ask := func(namespace, operation, object, old string) pending {
			return send(h, fmt.Appendf(nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1",
				"request":{"uid":"u","kind":{"kind":"Pod"},"namespace":%q,"operation":%q,
				"object":%s,"oldObject":%s}}`, namespace, operation, object, old), open)
		}
		first := ask("loud", "CREATE", containers("hangs", 249), "null")
		if s := h.Images.Stats(); s.InUse < 250 || s.InUse > 255 { // with the pod spec and the texts
			t.Fatalf("a large object takes %+v, want its images", s)
		}
		for name, answers := range map[string]pending{
			"few images":        ask("loud", "CREATE", containers("nginx", 63), "null"),
			"another namespace": ask("modest", "CREATE", containers("nginx", 150), "null"),
		} {
			if r := responseFrom(t, answers); !r.Allowed || r.Patch == nil {
				t.Errorf("%s: %+v, want it pinned meanwhile", name, r.Result)
			}
		}
		for name, answers := range map[string]pending{
			"many images":                  ask("loud", "CREATE", containers("nginx", 150), "null"),
			"images of an old object, too": ask("loud", "UPDATE", containers("nginx", 63), containers("busybox", 90)),
			"long annotations": ask("loud", "CREATE", `{"metadata":{"annotations":{"tagpin.dev/refresh":"`+
				strings.Repeat("x", 150<<10)+`"}},"spec":{"containers":[{"name":"a","image":"hangs"}]}}`, "null"),
		} {
			r := responseFrom(t, answers)
			if r.Allowed || r.Result.Code != http.StatusTooManyRequests ||
				!strings.Contains(r.Result.Message, "namespace loud") {
				t.Errorf("%s: %+v, want it denied at once", name, r.Result)
			}
		}
		close(release)
		responseFrom(t, first)
		if s := h.Images.Stats(); s.InUse != 0 {
			t.Errorf("in the end: %+v, want nothing in use", s)
		}
	})
}

// TestWaitingReviewsAreBounded checks that only some reviews of one namespace may wait for a
// registry. The others are answered soon, without what they wait for. Reviews that are answered at
// once, and those of other namespaces, are not affected.
func TestWaitingReviewsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
			if strings.HasPrefix(req.Ref.Text(), "nginx") {
				return registry(ctx, req)
			}
			<-ctx.Done()
			return resolve.Result{}, failure.Unavailable
		}
		answers := &resolve.Answers{}
		defer answers.Close()
		h := newHandler(t, policy.Enforce, &resolve.Cache{
			Next: resolve.Func(hangs), Answers: answers, Client: &registries.Client{},
		})
		h.SlowReviews = &fair.Room{Capacity: 16}
		open := make(chan struct{})
		close(open)
		var loud []pending
		for range 10 {
			loud = append(loud, send(h, large("loud", 10, "hangs"), open))
		}
		time.Sleep(time.Second)
		if s := h.SlowReviews.Stats(); s.InUse != 4 || s.Refused != 6 {
			t.Errorf("of ten reviews: %+v, want 4 that wait", s)
		}
		loud = slices.DeleteFunc(loud, func(answers pending) bool {
			if len(answers) == 0 {
				return false
			}
			r := responseFrom(t, answers)
			const want = "no answer yet, and there are too many slow reviews beside this one of namespace loud"
			if r.Allowed || r.Result.Code != http.StatusTooManyRequests ||
				r.Result.Details.RetryAfterSeconds != 1 {
				t.Errorf("a review without room: %+v, want it denied with Retry-After", r.Result)
			}
			if !strings.Contains(r.Result.Message, want) {
				t.Errorf("a review without room: message %q, want the reason", r.Result.Message)
			}
			return true
		})
		if len(loud) != 4 {
			t.Errorf("%d reviews are not answered, want the 4 that may wait", len(loud))
		}
		other := send(h, large("other", 10, "hangs"), open)
		if r := responseFrom(t, send(h, large("loud", 10, "nginx"), open)); !r.Allowed || r.Patch == nil {
			t.Errorf("a review that needs no wait: %+v, want it pinned", r.Result)
		}
		time.Sleep(time.Second)
		if s := h.SlowReviews.Stats(); s.InUse != 5 {
			t.Errorf("with the review of another namespace: %+v, want it to wait too", s)
		}
		<-other
		for _, answers := range loud {
			<-answers
		}
		if s := h.SlowReviews.Stats(); s.InUse != 0 {
			t.Errorf("in the end: %+v, want nothing in use", s)
		}
	})
}

// TestSlowReviewsOfControllers checks that a controller gets no Retry-After if there is no room,
// since its client would try again ten times while a worker waits.
func TestSlowReviewsOfControllers(t *testing.T) {
	const owner = `"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"a","uid":"1","controller":true}]`
	for _, metadata := range []string{"", owner} {
		synctest.Test(t, func(t *testing.T) {
			hangs := func(ctx context.Context, _ resolve.Request) (resolve.Result, error) {
				<-ctx.Done()
				return resolve.Result{}, resolve.Late(ctx, ref.MustParse("nginx"))
			}
			h := newHandler(t, policy.Enforce, resolve.Func(hangs))
			h.SlowReviews = &fair.Room{Capacity: 1}
			h.Images = &fair.Room{Capacity: 100}
			pod := func(images int) []byte {
				containers := strings.Repeat(`{"name":"a","image":"nginx"},`, images)
				return review("CREATE", "", "Pod", fmt.Sprintf(`{"metadata":{%s},"spec":{"containers":[%s]}}`,
					metadata, strings.TrimSuffix(containers, ",")), "")
			}
			for name, images := range map[string]int{"slow": 1, "many images": 200} {
				r, _ := post(t, h, pod(images))
				if r.Allowed || r.Result.Code != http.StatusTooManyRequests ||
					(r.Result.Details != nil) != (metadata == "") {
					t.Errorf("%s, metadata %q: %+v, want it denied with 429", name, metadata, r.Result)
				}
			}
		})
	}
}
