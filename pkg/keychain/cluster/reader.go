// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"time"

	validate "k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	// ttl is how long an object is remembered.
	ttl = 5 * time.Second
	// maxObjects is the maximum number of objects that are remembered, and maxBytes their approximate
	// size. If there are more, the namespace that has most loses the one that it has not used for the
	// longest time.
	maxObjects = 8192
	maxBytes   = 16 << 20
	// maxReaders is the number of lookups that read secrets at a time, and readersShare that of one
	// namespace. Each reads readsOfOne secrets at a time, and holds maxRings bytes of secrets before
	// the last of these.
	maxReaders, readersShare, readsOfOne = 12, 3, 4
	maxRings                             = 2 << 20
	// timeout is the maximum time for one read, including the wait for its turn.
	timeout = 2 * time.Second
	// readersTime is how long a lookup may read secrets before others get its turn. It is longer than
	// timeout, so that a read without an answer ends first.
	readersTime = 3 * time.Second
	// minInterval is the minimum time between two reads of an object, if a credential was refused or
	// the API server did not answer.
	minInterval = time.Second
	// keepFor is how long the last value is used while the API server does not answer in time.
	keepFor = time.Minute
)

// key is an object. Its kind is secretKind or accountKind.
type key struct{ namespace, kind, name string }

// valid reports whether an object with this name can exist. The author of a pod may write any text,
// and the API server can't be asked for an invalid name.
func (k key) valid() bool {
	return k.name != "" && len(k.namespace) <= workload.MaxName && len(k.name) <= workload.MaxName &&
		len(validate.IsPathSegmentName(k.name)) == 0
}

// object is the result of the last read of an object.
type object struct {
	content // of the last read with an answer

	result    string    // of the last read
	readAt    time.Time // when the last read began, or ended without an answer
	contentAt time.Time // when the last read with an answer began; zero if there was none
}

// known reports whether there was an answer.
func (o *object) known() bool { return !o.contentAt.IsZero() }

// recent reports whether there was an answer not long ago.
func (o *object) recent() bool { return time.Since(o.contentAt) < keepFor }

// object returns the remembered object, or reads it. If fresh is true, it uses an object from
// memory only if that was read within the last second. The object is not known if the API server
// did not answer before ctx ended, and no recent answer is remembered.
//
// Callers that want the same object at the same time share one read, which goes on if they give up.
func (c *Cluster) object(ctx context.Context, k key, fresh bool) object {
	if o, ok := c.remembered(k, fresh); ok {
		return o
	}
	if ctx.Err() != nil {
		return c.last(k)
	}
	o, err := c.flights.Do(ctx, k, func(ctx context.Context) (object, error) {
		// Another read may have ended between remembered and Do.
		if o, ok := c.remembered(k, fresh); ok {
			return o, nil
		}
		return c.update(ctx, k), nil
	})
	if err != nil {
		return c.last(k)
	}
	return o
}

// last returns an object as it is remembered while there is no answer about it.
func (c *Cluster) last(k key) object {
	if o, _ := c.known.Get(k); o.recent() {
		return o
	}
	return object{}
}

// remembered returns an object that needs no read. ok is false if the object must be read. An
// object with an invalid name needs no read, because it can't exist.
func (c *Cluster) remembered(k key, fresh bool) (o object, ok bool) {
	if !k.valid() {
		return object{contentAt: time.Now()}, true
	}
	o, ok = c.known.Get(k)
	age := ttl
	if fresh || !o.contentAt.Equal(o.readAt) {
		age = minInterval
	}
	return o, ok && time.Since(o.readAt) < age
}

// update reads an object and remembers it. If the API server does not answer, the last content
// stays for a while.
func (c *Cluster) update(ctx context.Context, k key) object {
	o, result := object{readAt: time.Now()}, failed
	_ = c.Panics.Catch(reading[k.kind], func() error { // for the result, a panic is no answer
		o.content, result = c.read(ctx, k)
		return nil
	})
	c.Metrics.count(k.kind, result)
	o.result = result
	if result == failed {
		o.readAt = time.Now() // the time that it took must not make it old
	} else {
		o.contentAt = o.readAt
	}
	c.known.Update(k, 0, func(before object, ok bool) (object, bool) {
		if !o.known() && ok && before.recent() {
			o.content, o.contentAt = before.content, before.contentAt
		}
		return o, true
	})
	return o
}

func (c *Cluster) init() {
	c.readers.Capacity, c.readers.Share = maxReaders, readersShare
	c.known.Size, c.known.Bytes = maxObjects, maxBytes
	c.known.Weigh = func(_ key, o object) int { return o.size() }
	c.known.Owner = func(k key, _ object) string { return k.namespace }
	c.flights.Timeout, c.flights.Doing, c.flights.Panics = timeout, "reading an object", c.Panics
}
