// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"net/http/httptrace"
	"sync/atomic"
	"syscall"
)

// attempt is how far one request has come on the wire. Only what it says is evidence against a
// registry: a request that could not be built, or that the transport refused to send, has dialled
// nothing and written nothing. The transport may call its hooks after the request has been given up.
type attempt struct {
	namespace string // whom the request is for

	dialled   atomic.Bool // a connection was asked for
	dialling  atomic.Bool // and does not wait for its turn to be made
	connected atomic.Bool // and was there
	reused    atomic.Bool // it was an old one
	wrote     atomic.Bool // the request's header was written to it
	begun     atomic.Bool // the answer has begun
}

// attemptKey is the key of the attempt that a context belongs to. A connection is made with the values
// of the request that asked for it.
type attemptKey struct{}

// attemptOf returns the attempt of a context; that of nobody in particular if it has none.
func attemptOf(ctx context.Context) *attempt {
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		return a
	}
	return new(attempt)
}

// trace returns a context whose request is recorded. Each redirect asks for a connection of its own.
func (a *attempt) trace(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, attemptKey{}, a)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) {
			a.connected.Store(false)
			a.wrote.Store(false)
			a.dialled.Store(true)
			a.dialling.Store(true)
		},
		GotConn: func(info httptrace.GotConnInfo) {
			a.connected.Store(true)
			a.reused.Store(info.Reused)
		},
		WroteHeaders:         func() { a.wrote.Store(true) },
		GotFirstResponseByte: func() { a.begun.Store(true) },
	})
}

// network returns what the failure err of the request says about the network.
func (a *attempt) network(err error) network {
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE): // there is no socket here
		return unknown
	case errors.Is(err, errNoDial):
		return unknown
	case a.wrote.Load():
		return broken
	case a.dialled.Load() && a.dialling.Load() && !a.connected.Load():
		return notConnected
	}
	return unknown
}
