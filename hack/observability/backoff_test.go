// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/util/workqueue"
)

const (
	scrapeInterval = 30 * time.Second
	outageBegins   = 10*time.Minute + 7*time.Second
	outageEnds     = 4 * time.Hour
)

// attempts returns when a controller tries to create the pods of one ReplicaSet, if each attempt
// before outageEnds fails, up to the attempt that succeeds. The controllers of ReplicaSets,
// StatefulSets and others use this rate limiter. An attempt of a ReplicaSet ends with the first pod
// that is refused.
func attempts() []time.Duration {
	limiter := workqueue.DefaultTypedControllerRateLimiter[string]()
	all := []time.Duration{outageBegins}
	for all[len(all)-1] < outageEnds {
		all = append(all, all[len(all)-1]+limiter.When("shop/web"))
	}
	return all
}

// counter returns the samples of a counter that counts some of the attempts of a number of
// ReplicaSets, each of which begins three minutes after the one before. The counter exists from the
// start if exists is true, and otherwise from the first attempt.
func counter(sets int, exists bool, counts func(at time.Duration) bool) string {
	var b strings.Builder
	for at := time.Duration(0); at <= outageEnds+time.Hour; at += scrapeInterval {
		n := 0
		for set := range sets {
			for _, a := range attempts() {
				a += time.Duration(set) * 3 * time.Minute
				if a <= at && counts(a) {
					n++
				}
			}
		}
		if n == 0 && !exists {
			b.WriteString(" _")
			continue
		}
		fmt.Fprintf(&b, " %d", n)
	}
	return b.String()
}

func fails(at time.Duration) bool    { return at < outageEnds }
func succeeds(at time.Duration) bool { return at >= outageEnds }

// TestAlertsDespiteBackOff checks that an alert fires without a break while the only sign of an
// outage are the attempts of one or two controllers, which become rare.
func TestAlertsDespiteBackOff(t *testing.T) {
	const (
		denied      = `tagpin_admission_reviews_total{mode="enforce",result="denied"}`
		unavailable = `tagpin_resolve_lookups_total{registry="ghcr.io",result="unavailable",source="registry"}`
		answered    = `tagpin_resolve_lookups_total{registry="ghcr.io",result="ok",source="registry"}`
		refused     = `apiserver_admission_webhook_rejection_count{name="enforce.tagpin.dev",error_type="calling_webhook_error"}`
	)
	for _, tt := range []struct {
		alert, series string
		exists        bool // from the start, at 0
		// how long after the beginning the alert must fire, and how long after the first success it
		// may fire
		within, after time.Duration
	}{
		{"TagpinDenies", denied, true, 35 * time.Minute, 45 * time.Minute},
		{"TagpinRegistryUnavailable", unavailable, false, 10 * time.Minute, 2 * time.Minute},
		{"TagpinRegistryUnavailable", unavailable, true, 10 * time.Minute, 2 * time.Minute},
		{"TagpinCallsFail", refused, false, 10 * time.Minute, 25 * time.Minute},
		{"TagpinHandshakesFail", `tagpin_connections_closed_total{port="webhook",reason="handshake"}`, true, 35 * time.Minute, 25 * time.Minute},
		{"TagpinForbidden", `tagpin_keychain_reads_total{kind="secret",result="forbidden"}`, false, 35 * time.Minute, 25 * time.Minute},
		{"TagpinForbidden", `tagpin_sibling_lists_total{result="forbidden"}`, false, 35 * time.Minute, 25 * time.Minute},
		{"TagpinBug", `tagpin_panics_total`, true, 10 * time.Minute, 25 * time.Minute},
		{"TagpinConditionsFail", conditionErrors + `{name="enforce.tagpin.dev",kind="webhook"}`, false, 10 * time.Minute, 25 * time.Minute},
	} {
		for sets := 1; sets <= 2; sets++ {
			t.Run(fmt.Sprint(tt.alert, " ", sets), func(t *testing.T) {
				series := tt.series + counter(sets, tt.exists, fails) + "\n" +
					answered + counter(sets, true, succeeds)
				times := fired(t, "30s", series, rules(t), time.Unix(0, 0).Add(outageEnds+time.Hour))
				recovered := slices.Max(attempts()) + time.Duration(sets-1)*3*time.Minute
				checkFiring(t, times[tt.alert], outageBegins+tt.within, outageEnds, recovered+tt.after)
			})
		}
	}
}

// checkFiring checks that an alert fires in each minute between two times, and neither before the
// outage nor from a later time on.
func checkFiring(t *testing.T, times []time.Time, from, to, latest time.Duration) {
	t.Helper()
	start := time.Unix(0, 0)
	for at := from.Truncate(time.Minute) + time.Minute; at < to; at += time.Minute {
		if !slices.Contains(times, start.Add(at)) {
			t.Fatalf("the alert does not fire %v after the start, and the outage is from %v to %v",
				at, outageBegins, outageEnds)
		}
	}
	if first := slices.MinFunc(times, time.Time.Compare).Sub(start); first < outageBegins {
		t.Errorf("the alert fires %v after the start, before the outage", first)
	}
	if last := slices.MaxFunc(times, time.Time.Compare).Sub(start); last > latest {
		t.Errorf("the alert fires until %v after the start, want %v at most", last, latest)
	}
}
