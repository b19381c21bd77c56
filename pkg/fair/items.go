// SPDX-License-Identifier: Apache-2.0

package fair

import (
	"context"
	"io"
)

// Items bounds the memory for items whose size tenants choose, such as the pods of a list. Free bytes
// of an item are read at once. Before more is read, the reader takes Weight units of Queue and keeps
// them until it is closed. So small items never wait, and only a few large ones are held at once.
type Items struct {
	Queue *Queue
	// Free is how many bytes of an item are read without units, and Max how many it may have.
	Free, Max int64
	// Weight is the number of units for a large item.
	Weight int64
}

// Reader returns a reader of items from r, for a namespace. A read waits for units until ctx ends. It
// is not safe for concurrent use.
func (i Items) Reader(ctx context.Context, namespace string, r io.Reader) *ItemReader {
	return &ItemReader{Items: i, from: r, enter: func() (func(), error) {
		return i.Queue.Enter(ctx, namespace, i.Weight)
	}}
}

// ItemReader is made by Items.Reader.
type ItemReader struct {
	Items

	from  io.Reader
	enter func() (leave func(), err error)
	read  int64  // bytes of the item
	leave func() // gives the units back; nil if there are none
}

// Read implements io.Reader. Its error is that of the queue, or ErrTooLarge if an item has more than
// Max bytes.
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

// Next begins the next item.
func (r *ItemReader) Next() { r.read = 0 }

// Close gives the units back.
func (r *ItemReader) Close() {
	if r.leave != nil {
		r.leave()
		r.leave = nil
	}
}
