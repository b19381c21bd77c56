// SPDX-License-Identifier: Apache-2.0

// Package cache remembers values, and shares calls for values that are not remembered.
//
// A Memory is a map with a maximum size, which owners of keys share fairly. Flights shares a call
// among the callers that want the same key at the same time. They don't depend on each other, but
// are usually used together:
//
//	m := &cache.Memory[string, token]{Size: 1024}
//	f := &cache.Flights[string, token]{}
//	t, ok := m.Get(key)
//	if !ok {
//		t, err = f.Do(ctx, key, func(ctx context.Context) (token, error) {
//			t, err := ask(ctx, key)
//			if err == nil {
//				m.Put(key, t, t.lifetime)
//			}
//			return t, err
//		})
//	}
//
// The package that uses them decides how long a value is valid, and whether to remember failures.
package cache
