// SPDX-License-Identifier: Apache-2.0

package pin

import (
	"sync"
	"time"

	"github.com/tagpin/tagpin/pkg/fair"
)

// maxConcurrent is the maximum number of lookups of one object that run at a time, unless the
// Pinner runs all of them. A tenant may create an object with thousands of images; a large
// Deployment has ten.
const maxConcurrent = 16

// HelperRoom returns a room for Pinner.Helpers. A helper and the lookup that it waits for have a
// goroutine each, with about 8 KiB of stack. Hundreds of reviews at a time would use up the memory
// of the webhook with them, before any other bound counts the lookups. The helpers of one sender
// need about 10 MiB at most. A namespace with no more helpers than one object has usually finds
// room even if its sender has used up its part.
func HelperRoom() *fair.Room { return &fair.Room{Capacity: 1024, Modest: maxConcurrent - 1} }

// serialFor is how long the lookups for a controller's object run one after another. Most are
// answered from memory in a few microseconds, and need no other goroutine. No registry answers as
// fast.
const serialFor = 200 * time.Microsecond

// helpers are goroutines that run lookups of an object beside the goroutine that pins it.
type helpers struct {
	room              *fair.Room // Pinner.Helpers
	sender, namespace string
	work              func() // of each helper
	limit             int
	wait              time.Duration // until the first helper may begin

	running sync.WaitGroup
	mu      sync.Mutex
	may     bool // begin
	begun   int
}

// run calls own, and begins helpers if it is not over after wait. It returns when own and all
// helpers have returned.
func (h *helpers) run(own func()) {
	defer h.running.Wait()
	if h.wait == 0 || h.limit == 0 {
		h.may = true
		own()
		return
	}
	h.running.Add(1) // until the timer can't begin helpers any more
	timer := time.AfterFunc(h.wait, func() {
		defer h.running.Done()
		h.mu.Lock()
		h.may = true
		h.mu.Unlock()
		h.begin()
	})
	own()
	if timer.Stop() {
		h.running.Done()
	}
}

// begin begins as many helpers as limit and the room allow, if wait is over.
func (h *helpers) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.may && h.begun < h.limit {
		leave := func() {}
		if h.room != nil {
			var err error
			if leave, err = h.room.Enter(h.sender, h.namespace, 1); err != nil {
				return
			}
		}
		h.begun++
		h.running.Go(func() {
			defer leave()
			h.work()
		})
	}
}
