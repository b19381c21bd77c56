// SPDX-License-Identifier: Apache-2.0

package fair

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestItems(t *testing.T) {
	for _, tt := range []struct {
		name  string
		sizes []int // of the items, which are read one after the other
		inUse int64 // units, before Close
		err   error
	}{
		{"small ones", []int{9, 9, 9}, 0, nil},
		{"a large one", []int{9, 11, 9}, 50, nil},
		{"two large ones", []int{11, 100, 9}, 50, nil},
		{"one that is too large", []int{101}, 50, ErrTooLarge},
		{"one that is much too large", []int{9, 1000}, 50, ErrTooLarge},
	} {
		q := &Queue{Capacity: 100, Share: 50}
		all := bytes.Repeat([]byte("x"), 2000)
		r := Items{Queue: q, Free: 10, Max: 100, Weight: 50}.Reader(t.Context(), "a", bytes.NewReader(all))
		var err error
		for _, size := range tt.sizes {
			r.Next(0)
			if _, err = io.ReadFull(r, make([]byte, size)); err != nil {
				break
			}
		}
		if inUse := q.Stats().InUse; !errors.Is(err, tt.err) || inUse != tt.inUse {
			t.Errorf("%s: Read = %v, %d units in use, want %v and %d", tt.name, err, inUse, tt.err, tt.inUse)
		}
		r.Close()
		r.Close()
		if len(q.members) != 0 {
			t.Errorf("%s: units are in use after Close", tt.name)
		}
	}
}

// TestItemsAhead checks that bytes of an item that were read ahead count.
func TestItemsAhead(t *testing.T) {
	q := &Queue{Capacity: 50}
	r := Items{Queue: q, Free: 10, Max: 100, Weight: 50}.Reader(
		t.Context(), "a", bytes.NewReader(make([]byte, 200)))
	defer r.Close()
	r.Next(60)
	if n, err := io.ReadFull(r, make([]byte, 50)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("60 bytes ahead and 50 more: read %d, %v, want %v", n, err, ErrTooLarge)
	}
}

// TestItemsWait checks that Read fails if the context ends before there are free units.
func TestItemsWait(t *testing.T) {
	q := &Queue{Capacity: 50}
	leave, err := q.Enter(t.Context(), "b", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	from := iotest.OneByteReader(bytes.NewReader(bytes.Repeat([]byte("x"), 20)))
	r := Items{Queue: q, Free: 10, Max: 100, Weight: 50}.Reader(ctx, "a", from)
	defer r.Close()
	if got, err := io.ReadAll(r); len(got) != 10 || !errors.Is(err, context.Canceled) {
		t.Errorf("ReadAll = %d bytes, %v, want 10 and %v", len(got), err, context.Canceled)
	}
}
