// SPDX-License-Identifier: Apache-2.0

package fair

import (
	"context"
	"io"
)

// Items limits the memory for items whose size tenants choose, such as the pods of a list. Small
// items never wait. Before the reader reads more than Free bytes of an item, it takes Weight units
// of Queue, and keeps them until it is closed. So only a few large items are in memory at a time.
type Items struct {
	Queue *Queue
	// Free is the number of bytes of an item that are read without units.
	Free int64
	// Max is the maximum number of bytes of an item.
	Max int64
	// Weight is the number of units for a large item.
	Weight int64
}

// Reader returns a reader of items from r, for a namespace. A read waits for units until ctx ends.
// The reader is not safe for concurrent use.
func (i Items) Reader(ctx context.Context, namespace string, r io.Reader) *ItemReader {
	return &ItemReader{Items: i, from: r, enter: func() (func(), error) {
		return i.Queue.Enter(ctx, namespace, i.Weight)
	}}
}

// ItemReader is an io.Reader that reads items. Items.Reader creates it.
type ItemReader struct {
	Items

	from  io.Reader
	enter func() (leave func(), err error)
	read  int64  // bytes of the current item
	leave func() // gives the units back; nil if it has none
}

// Read reads a part of the current item. The error is ErrTooLarge if the item has more than Max
// bytes, or that of the queue.
func (r *ItemReader) Read(p []byte) (_ int, err error) {
	if r.read >= r.Free && r.leave == nil {
		if r.leave, err = r.enter(); err != nil {
			return 0, err
		}
	}
	limit := r.Max + 1
	if r.leave == nil {
		limit = r.Free
	}
	n, err := r.from.Read(p[:min(int64(len(p)), limit-r.read)])
	if r.read += int64(n); r.read > r.Max {
		return 0, ErrTooLarge
	}
	return n, err
}

// Next must be called at the end of each item. ahead is the number of bytes of the next item that
// were read already, which is at most Max.
func (r *ItemReader) Next(ahead int) { r.read = int64(ahead) }

// Close gives the units back.
func (r *ItemReader) Close() {
	if r.leave != nil {
		r.leave()
		r.leave = nil
	}
}
