// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/fair"
)

const (
	// maxReads is the maximum number of reads at a time. Each response is in memory.
	maxReads = 32
	// smallObject is the maximum number of bytes of a response that needs no room among large
	// objects, and maxObject that of any response. A secret may have 1 MiB, which base64 makes larger.
	smallObject = 64 << 10
	maxObject   = 4 << 20
	// LargeObject is the number of bytes that a large object needs: the response, with the copies
	// that are made while it grows, and the decoded object. A share of less admits none.
	LargeObject = 3 * maxObject
	// maxPerNamespace is the maximum number of reads of one namespace at a time. Anybody who may
	// create pods in it can name any number of secrets.
	maxPerNamespace = 8
	// maxWaiting is the maximum number of reads of one namespace that wait for their turn. It is
	// enough for two pods with the maximum number of secrets.
	maxWaiting = 128
)

// Get reads an object of the API server's core group into a pointer. It obeys the context.
type Get func(ctx context.Context, namespace, resource, name string, into any) error

// Places returns the queue that FromClient expects.
func Places() *fair.Queue {
	return &fair.Queue{Capacity: maxReads, Share: maxPerNamespace, Backlog: maxWaiting}
}

// FromClient returns a Get that sends each read to the API server. c is a client for the core
// group's v1. A read waits for its turn in the queue, and fails if too many reads of its namespace
// wait already. large bounds the bytes of large objects.
func FromClient(c rest.Interface, queue, large *fair.Queue) Get {
	objects := fair.Items{Queue: large, Free: smallObject, Max: maxObject, Weight: LargeObject}
	return func(ctx context.Context, namespace, resource, name string, into any) (err error) {
		leave, err := queue.Enter(ctx, namespace, 1)
		if err != nil {
			return err
		}
		defer leave()
		body, err := c.Get().Namespace(namespace).Resource(resource).Name(name).
			SetHeader("Accept", "application/json").Stream(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, body.Close()) }()
		object := objects.Reader(ctx, namespace, body)
		defer object.Close()
		text, err := io.ReadAll(object)
		if err != nil {
			return err
		}
		return json.Unmarshal(text, into)
	}
}
