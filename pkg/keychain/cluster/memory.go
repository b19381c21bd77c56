// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/panics"
)

const (
	defaultTTL     = 5 * time.Second
	defaultSize    = 4096
	defaultBytes   = 16 << 20
	defaultTimeout = 2 * time.Second
	// freshAfter is how old what is remembered has to be before a refused credential makes it be read
	// again, or a read that got no answer is tried again.
	freshAfter = time.Second
	// keepFor is how long what was read last holds while the API server gives no answer at all.
	keepFor = time.Minute
	// maxName is how long a name can be: of what an author writes in a pod spec, nothing longer is
	// there to read.
	maxName = 253
)

// key is an object of one kind. The names are an author's own text: a joined string could be read
// as another pair.
type key struct{ namespace, name string }

// possible reports whether there may be such an object. The API server can't be asked for others.
func (k key) possible() bool {
	return k.name != "" && len(k.namespace) <= maxName && len(k.name) <= maxName &&
		len(content.IsPathSegmentName(k.name)) == 0
}

// sized is a value that says about how many bytes it holds.
type sized interface{ Size() int }

// reads are the reads of one kind of object: what they got is remembered for a while, fairly by
// namespace, and callers that want one object at once share one read, which outlives them.
type reads[T sized] struct {
	// read reads one object. ok is false if the API server gave no answer; that there is no such
	// object is an answer.
	read func(ctx context.Context, k key) (value T, ok bool)
	// count counts a read by its result.
	count func(result string)

	ttl     time.Duration
	panics  *panics.Reporter
	known   cache.Memory[key, object[T]]
	flights cache.Flights[key, object[T]]
}

// object is what the last read of an object got.
type object[T sized] struct {
	asked    time.Time // when the last read began
	answered bool
	good     time.Time // when value was read, maybe by a read before; zero: never
	value    T
}

// get returns what is remembered, or reads the object. known is false if the API server gave no
// answer, neither now nor a while ago, or not before ctx ended; value is zero then. With fresh,
// only what is younger than a second is taken from memory.
func (r *reads[T]) get(ctx context.Context, k key, fresh bool) (value T, known bool) {
	o, ok := r.remembered(k, fresh)
	if !ok {
		var err error
		if o, err = r.flights.Do(ctx, k, func(ctx context.Context) (object[T], error) {
			if o, ok := r.remembered(k, fresh); ok { // another read has ended meanwhile
				return o, nil
			}
			return r.ask(ctx, k), nil
		}); err != nil {
			return value, false
		}
	}
	return o.value, !o.good.IsZero()
}

// remembered returns what needs no read: what is young enough, and what can't be there.
func (r *reads[T]) remembered(k key, fresh bool) (o object[T], ok bool) {
	if !k.possible() {
		return object[T]{answered: true, good: time.Now()}, true
	}
	o, ok = r.known.Get(k)
	age := r.ttl
	if fresh || !o.answered {
		age = min(age, freshAfter)
	}
	return o, ok && time.Since(o.asked) < age
}

// ask reads the object. If there is no answer, what was read before stays for a while.
func (r *reads[T]) ask(ctx context.Context, k key) object[T] {
	o := object[T]{asked: time.Now()}
	err := r.panics.Catch(r.flights.Doing, func() error {
		o.value, o.answered = r.read(ctx, k)
		return nil
	})
	switch {
	case err != nil:
		r.count(failed)
	case o.answered:
		o.good = o.asked
	}
	r.known.Update(k, 0, func(before object[T], ok bool) (object[T], bool) {
		if o.good.IsZero() && ok && o.asked.Sub(before.good) < keepFor {
			o.value, o.good = before.value, before.good
		}
		return o, true
	})
	return o
}

// init takes over the settings of a Cluster.
func (r *reads[T]) init(c *Cluster, kind, doing string, read func(context.Context, key) (T, bool)) {
	r.count = func(result string) { c.Metrics.count(kind, result) }
	r.read, r.panics, r.ttl = read, c.Panics, orDefault(c.TTL, defaultTTL)
	r.known.Size, r.known.Bytes = orDefault(c.Size, defaultSize), orDefault(c.Bytes, defaultBytes)
	r.known.Weigh = func(_ key, o object[T]) int { return o.value.Size() }
	r.known.Owner = func(k key, _ object[T]) string { return k.namespace }
	r.flights.Timeout = orDefault(c.Timeout, defaultTimeout)
	r.flights.Doing, r.flights.Panics = doing, c.Panics
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}
