// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"fmt"
	"time"
)

const (
	// enoughReached is how often in a row, a second apart, the webhook must be reached before the
	// registration gets its rules. API servers on other nodes may see a new endpoint a moment later.
	enoughReached = 3
	// reachPatience is how long the Registrar waits until the webhook is reached. If the server can't
	// reach its own Service, for example because of a network policy, API servers may still reach it.
	reachPatience = time.Minute
	// reachTimeout is the time limit of one attempt.
	reachTimeout = 2 * time.Second
)

// reached counts the attempts to reach the webhook through its Service.
type reached struct {
	since time.Time // of the first attempt; zero if there was none
	times int       // the last attempts in a row that succeeded
}

// whyNotReached returns why the webhook is not reached yet as an API server reaches it, or "" if it
// is, or if the rules have waited long enough. If the registration had rules before the webhook is
// reached, each request that they match would fail.
func (r *Registrar) whyNotReached(ctx context.Context) (waits string) {
	if r.reached.since.IsZero() {
		r.reached.since = time.Now()
	}
	for _, w := range webhooks(r.live) {
		err := r.Dial(ctx, w)
		if err == nil {
			continue
		}
		r.reached.times = 0
		if time.Since(r.reached.since) < reachPatience {
			return fmt.Sprintf("webhook %s is not reached through its Service yet: %v", w.Name, err)
		}
		r.Log.Error(err, "webhook is not reached through its Service, and gets its rules anyway: "+
			"check that API servers reach it, and that network policies admit tagpin's own pods",
			"webhook", w.Name, "waited", reachPatience.String())
		return ""
	}
	if r.reached.times++; r.reached.times < enoughReached {
		return "the webhook was reached, but other nodes may see its endpoint later"
	}
	return ""
}

// dial connects to a webhook as an API server does. It sends no request, which --client-ca would
// refuse.
func (r *Registrar) dial(ctx context.Context, w *webhook) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	caller := Caller{Client: r.Client, Now: r.Source.Now}
	conn, err := caller.Connect(ctx, &w.ClientConfig)
	if err != nil {
		return err
	}
	return conn.Close()
}
