// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// patience is the time after which a review counts as one that waits. A review that can be answered
// from memory takes a few milliseconds.
const patience = time.Second / 2

// errCrowded is the reason why the context of a review ended early.
var errCrowded = errors.New("too many reviews are waiting beside this one")

// limitWaiting returns a context for a review that ends early if the review waits and there is no
// room in SlowReviews. The lookups that it still waits for then fail, and the answer is made
// without them. done must be called after the answer was made.
func (h *Handler) limitWaiting(
	ctx context.Context, rv *review,
) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var mu sync.Mutex
	answered, leave := false, func() {}
	timer := time.AfterFunc(patience, func() {
		mu.Lock()
		defer mu.Unlock()
		if answered {
			return
		}
		enter, err := h.SlowReviews.Enter(rv.peer, rv.Namespace, 1)
		if err != nil {
			cancel(fmt.Errorf("no answer yet, and %w of namespace %s", errCrowded, rv.Namespace))
			return
		}
		leave = enter
	})
	return ctx, func() {
		timer.Stop()
		mu.Lock()
		defer mu.Unlock()
		answered = true
		leave()
		cancel(nil)
	}
}
