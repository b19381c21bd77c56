// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/tagpin/tagpin/pkg/cache"
)

const (
	defaultTTL   = 5 * time.Second
	defaultSize  = 4096
	defaultBytes = 16 << 20
	// timeout is the maximum time for one read, including the wait for its turn.
	timeout = 2 * time.Second
	// minInterval is the minimum time between two reads of an object, if a credential was refused or
	// the API server did not answer.
	minInterval = time.Second
	// keepFor is how long the last value is used while the API server does not answer.
	keepFor = time.Minute
	// maxName is the maximum length of a namespace or of an object's name.
	maxName = 253
)

// key is the namespace and the name of an object.
type key struct{ namespace, name string }

// valid reports whether an object with this name can exist. The author of a pod may write any text,
// and the API server can't be asked for an invalid name.
func (k key) valid() bool {
	return k.name != "" && len(k.namespace) <= maxName && len(k.name) <= maxName &&
		len(content.IsPathSegmentName(k.name)) == 0
}

// sized is a value that knows its approximate size in bytes.
type sized interface{ Size() int }

// reader reads the objects of one kind and remembers them. Namespaces share the memory fairly.
// Callers that want the same object at the same time share one read, which goes on if they give up.
type reader[T sized] struct {
	cluster *Cluster
	kind    string
	// read reads one object. The result is failed if the API server did not answer; not found is an
	// answer.
	read func(ctx context.Context, k key) (value T, result string)

	known   cache.Memory[key, object[T]]
	flights cache.Flights[key, object[T]]
}

// object is the result of the last read of an object.
type object[T sized] struct {
	read    time.Time // when the last read began
	valueAt time.Time // when the last read with an answer began; zero if there was none
	value   T
}

// known reports whether value was read.
func (o *object[T]) known() bool { return !o.valueAt.IsZero() }

// get returns the remembered object, or reads it. If fresh is true, it uses an object from memory
// only if that was read within the last second. known is false, and value is zero, if the API
// server did not answer before ctx ended, and no recent value is remembered.
func (r *reader[T]) get(ctx context.Context, k key, fresh bool) (value T, known bool) {
	o, ok := r.remembered(k, fresh)
	if !ok {
		var err error
		if o, err = r.flights.Do(ctx, k, func(ctx context.Context) (object[T], error) {
			// Another read may have ended between remembered and Do.
			if o, ok := r.remembered(k, fresh); ok {
				return o, nil
			}
			return r.update(ctx, k), nil
		}); err != nil {
			return value, false
		}
	}
	return o.value, o.known()
}

// remembered returns an object that needs no read. ok is false if the object must be read. An
// object with an invalid name needs no read, because it can't exist.
func (r *reader[T]) remembered(k key, fresh bool) (o object[T], ok bool) {
	if !k.valid() {
		return object[T]{valueAt: time.Now()}, true
	}
	o, ok = r.known.Get(k)
	age := cmp.Or(r.cluster.TTL, defaultTTL)
	if fresh || !o.valueAt.Equal(o.read) {
		age = min(age, minInterval)
	}
	return o, ok && time.Since(o.read) < age
}

// update reads an object and remembers it. If the API server does not answer, the last value stays
// for a while.
func (r *reader[T]) update(ctx context.Context, k key) object[T] {
	o, result := object[T]{read: time.Now()}, failed
	_ = r.cluster.Panics.Catch(r.flights.Doing, func() error { // for the result, a panic is no answer
		o.value, result = r.read(ctx, k)
		return nil
	})
	r.cluster.Metrics.count(r.kind, result)
	if result != failed {
		o.valueAt = o.read
	}
	r.known.Update(k, 0, func(before object[T], ok bool) (object[T], bool) {
		if !o.known() && ok && o.read.Sub(before.valueAt) < keepFor {
			o.value, o.valueAt = before.value, before.valueAt
		}
		return o, true
	})
	return o
}

// init sets the reader up for a Cluster. activity describes a read in the text of a panic.
func (r *reader[T]) init(
	c *Cluster, kind, activity string, read func(context.Context, key) (T, string),
) {
	r.cluster, r.kind, r.read = c, kind, read
	r.known.Size, r.known.Bytes = cmp.Or(c.Size, defaultSize), cmp.Or(c.Bytes, defaultBytes)
	r.known.Weigh = func(_ key, o object[T]) int { return o.value.Size() }
	r.known.Owner = func(k key, _ object[T]) string { return k.namespace }
	r.flights.Timeout, r.flights.Doing, r.flights.Panics = timeout, activity, c.Panics
}
