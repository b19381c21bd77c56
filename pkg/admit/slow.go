// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// slowAfter is the time after which a review counts as slow. From memory it takes a few
// milliseconds.
const slowAfter = time.Second / 2

// errTooManySlow is the reason why the context of a review ended early.
var errTooManySlow = errors.New("too many slow reviews beside this one")

// limitSlow returns a context for a review that ends early if the review becomes slow and there is
// no room in SlowReviews. The lookups that it still waits for then fail, and the answer is made
// without them. done must be called after the answer was made.
func (h *Handler) limitSlow(
	ctx context.Context, rv *review,
) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var mu sync.Mutex
	answered, leave := false, func() {}
	timer := time.AfterFunc(slowAfter, func() {
		mu.Lock()
		defer mu.Unlock()
		if answered {
			return
		}
		enter, err := h.SlowReviews.Enter(rv.peer, rv.Namespace, 1)
		if err != nil {
			cancel(fmt.Errorf("no answer yet, and there are %w of namespace %s",
				errTooManySlow, rv.Namespace))
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
