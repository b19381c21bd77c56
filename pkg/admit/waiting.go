// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// patience is how long a review may take before it counts as one that waits. One that can be answered
// from memory takes a few milliseconds.
const patience = time.Second / 2

// watch returns a context for a review which ends early if the review takes long and there is no room
// in Waiting: what it still waits for has then failed, and the answer is made without it. done must be
// called when the review is answered.
func (h *Handler) watch(ctx context.Context, rv *review) (_ context.Context, done func()) {
	if h.Waiting == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	w := &waiter{}
	timer := time.AfterFunc(patience, func() {
		if err := w.enter(h, rv.peer, rv.Namespace); err != nil {
			cancel(err)
		}
	})
	return ctx, func() {
		timer.Stop()
		w.end()
		cancel(nil)
	}
}

// errCrowded is the cause of the end of a review that found no room. Others of the same API server may
// have taken it.
var errCrowded = errors.New("too many reviews are waiting beside this one")

// waiter is a review that may come to wait.
type waiter struct {
	mu    sync.Mutex
	leave func() // gives back its room; nil: it has none
	ended bool
}

func (w *waiter) enter(h *Handler, peer, namespace string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return nil
	}
	leave, err := h.Waiting.Enter(peer, namespace, 1)
	if err != nil {
		return fmt.Errorf("no answer yet, and %w of namespace %s", errCrowded, namespace)
	}
	w.leave = leave
	return nil
}

func (w *waiter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	if w.leave != nil {
		w.leave()
	}
}
