// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
)

// Bounds of the log lines about failed lookups: of one namespace, and of all together. A controller
// tries a pod about ten times in the first minute.
const (
	namespaceBurst, totalBurst = 20, 200 // lines at once
	// namespaceInterval and totalInterval are the time between two lines after that.
	namespaceInterval, totalInterval = 10 * time.Second, 50 * time.Millisecond
)

// maxLoggedImage bounds the image in a log line, in bytes.
const maxLoggedImage = 512

// failureLog decides which failed lookups get a log line, so that a tenant can't flood the log, nor
// drown the failures of others. The zero value is ready.
type failureLog struct {
	once       sync.Once
	all        *rate.Limiter
	namespaces cache.Memory[string, *namespaceFailures]
}

// namespaceFailures are those of one namespace.
type namespaceFailures struct {
	limit   *rate.Limiter
	leftOut atomic.Int64 // since the last line
}

// next reports whether a failed lookup of a namespace gets a line. leftOut is the number of those
// of the namespace before it that got none.
func (l *failureLog) next(namespace string) (leftOut int64, ok bool) {
	l.once.Do(func() { l.all = rate.NewLimiter(rate.Every(totalInterval), totalBurst) })
	var n *namespaceFailures
	l.namespaces.Update(namespace, 0,
		func(known *namespaceFailures, ok bool) (*namespaceFailures, bool) {
			if n = known; !ok {
				n = &namespaceFailures{limit: rate.NewLimiter(rate.Every(namespaceInterval), namespaceBurst)}
			}
			return n, true
		})
	if !n.limit.Allow() || !l.all.Allow() {
		n.leftOut.Add(1)
		return 0, false
	}
	return n.leftOut.Swap(0), true
}

// logFailures writes a line about each failed lookup of a review, with the cause that only the
// operator may read. Images that share a lookup share a line.
func (h *Handler) logFailures(log logr.Logger, rv *review, result pin.Result) {
	type lookup struct {
		image   string
		podSpec int
	}
	var logged map[lookup]bool
	for i := range result.Outcomes {
		o := &result.Outcomes[i]
		if o.Err == nil || o.Reason == policy.TooLong { // nothing was looked up
			continue
		}
		this := lookup{o.Parsed.Canonical(), o.PodSpec}
		if logged[this] {
			continue
		}
		if logged == nil {
			logged = map[lookup]bool{}
		}
		logged[this] = true
		leftOut, ok := h.failures.next(rv.Namespace)
		if !ok {
			continue
		}
		line := log
		if cloud := h.cloudOff(o); cloud != "" {
			line = log.WithValues("cloudOff", cloud)
		}
		line.Info("lookup failed", "uid", rv.UID, "namespace", rv.Namespace,
			"kind", rv.Kind.String(), "name", rv.Name,
			"image", cutMiddle(o.Parsed.String(), maxLoggedImage), "registry", o.Parsed.Host(),
			"class", string(failure.Of(o.Err)), "cause", truncate(failure.Cause(o.Err), failure.MaxCause),
			"remembered", o.Cached, "leftOut", leftOut)
	}
}
