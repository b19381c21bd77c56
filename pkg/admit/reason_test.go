// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// wantReason posts a review, and checks the verdict and the reason in its line of the log.
func wantReason(t *testing.T, h *admit.Handler, body []byte, verdict, reason string) {
	t.Helper()
	lines := postLogged(t, h, body)["admission"]
	if len(lines) != 1 || lines[0]["verdict"] != verdict || lines[0]["reason"] != reason {
		t.Errorf("logged %v, want the verdict %s and the reason %q", lines, verdict, reason)
	}
}

// podOf returns a review that creates a pod with images.
func podOf(images ...string) []byte {
	containers := make([]string, len(images))
	for i, image := range images {
		containers[i] = fmt.Sprintf(`{"name":"c%d","image":%q}`, i, image)
	}
	object := `{"spec":{"containers":[` + strings.Join(containers, ",") + `]}}`
	return review("CREATE", "", "Pod", object, "")
}

// TestReasonOfImages checks that the log says which kind of image a pod was refused for. The first
// one counts. A pod that is admitted has no reason.
func TestReasonOfImages(t *testing.T) {
	const placeholder = "docker.io/library/auto:latest"
	long := strings.Repeat("a.", 150) + "example/a:1"
	for _, tt := range []struct {
		images          []string
		verdict, reason string
	}{
		{[]string{"ghcr.io/a/good:1"}, "patched", ""},
		{[]string{"ghcr.io/a/good:1", "ghcr.io/a/missing:1"}, "denied", "lookup"},
		{[]string{"auto"}, "denied", "placeholder"},
		{[]string{"auto", "ghcr.io/a/missing:1"}, "denied", "placeholder"},
		{[]string{long}, "denied", "too-long"},
	} {
		h := newHandler(t, policy.Enforce, registry)
		p, err := policy.ParsePattern(placeholder)
		if err != nil {
			t.Fatal(err)
		}
		h.Pinner.Policy.Exempt = append(h.Pinner.Policy.Exempt, p)
		wantReason(t, h, podOf(tt.images...), tt.verdict, tt.reason)
	}
}

// TestReasonOfUnseenReviews checks that the log says why an object was not looked at. In dry-run
// mode it is admitted, and the reason is logged too.
func TestReasonOfUnseenReviews(t *testing.T) {
	for mode, allowed := range allowedIn {
		verdict := "denied"
		if allowed {
			verdict = "not-reviewed"
		}
		h := newHandler(t, mode, registry)
		wantReason(t, h, review("CREATE", "example.com", "Unknown", `{}`, ""), "not-reviewed", "unknown-kind")
		wantReason(t, h, review("CREATE", "", "Pod", `"x"`, ""), verdict, "unreadable")
		wantReason(t, h, large("team", 17*mebi), verdict, "too-large")
		h.Images = &fair.Room{Capacity: 100}
		wantReason(t, h, podOf(strings.Fields(strings.Repeat("nginx ", 150))...), verdict, "images")
		if mode == policy.Keep { // it asks nothing that could panic
			continue
		}
		h.Pinner.Layer = func(
			context.Context, resolve.Resolver, pin.Request, []ref.Reference,
		) resolve.Resolver {
			panic(errors.New("a bug"))
		}
		owned := `{"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"o",` +
			`"uid":"1","controller":true}]},"spec":{"containers":[{"name":"a","image":"nginx"}]}}`
		wantReason(t, h, review("CREATE", "", "Pod", owned, ""), verdict, "bug")
	}
}

// TestReasonOfReviewsWithoutTurn checks that the log names the queue in which a review got no
// place.
func TestReasonOfReviewsWithoutTurn(t *testing.T) {
	for name, backlog := range map[string]int{"full": 1, "late": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHandler(t, policy.Enforce, registry)
				h.Reviews = &fair.Groups{Capacity: 4 * mebi, Backlog: backlog}
				never := make(chan struct{})
				stalled := []pending{
					send(h, large("loud", 3*mebi), never), send(h, large("loud", 3*mebi), never),
					send(h, large("modest", 3*mebi), never), // its turn is before that of the next one
				}
				wantReason(t, h, large("loud", 3*mebi), "denied", "reviews")
				for _, answers := range stalled {
					<-answers
				}
			})
		})
	}
}

// TestReasonOfWaitingReviews checks that the log names the queue if a review was answered without
// what it waited for.
func TestReasonOfWaitingReviews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(ctx context.Context, _ resolve.Request) (resolve.Result, error) {
			<-ctx.Done()
			return resolve.Result{}, failure.Unavailable
		}
		h := newHandler(t, policy.Enforce, resolve.Func(hangs))
		h.SlowReviews = &fair.Room{Capacity: 4}
		open := make(chan struct{})
		close(open)
		first := send(h, large("team", 10, "hangs"), open)
		time.Sleep(time.Second)
		wantReason(t, h, podOf("hangs"), "denied", "slow-reviews")
		<-first
	})
}
