// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"net/http/httptrace"
	"sync/atomic"
	"syscall"
	"time"
)

// attempt is how far one request has come on the wire. Only what it says is evidence against a
// registry: a request that could not be built, or that the transport refused to send, has dialled
// nothing and written nothing. The transport may call its hooks after the request has been given up.
type attempt struct {
	sender, namespace string // whom the request is for

	fair time.Duration // a connection that had less time is no evidence

	dialled   atomic.Bool               // a connection was asked for
	dialling  atomic.Pointer[time.Time] // when; nil: it waits for its turn to be made
	connected atomic.Bool               // and was there
	reused    atomic.Bool               // it was an old one
	wrote     atomic.Bool               // the request's header was written to it
	begun     atomic.Bool               // the answer has begun
}

// fairDial is how long a connection may take to be made. Where it had less time, as after a
// redirect that came late, the end of that time says nothing about the registry.
const fairDial = time.Second

// attempt returns an attempt to make a request. A registry with a short timeout has half of it for
// a connection.
func (l *lookup) attempt() *attempt {
	return &attempt{sender: l.req.Sender, namespace: l.req.Namespace, fair: min(fairDial, l.host.Timeout/2)}
}

// dial notes that a connection is being made from now on.
func (a *attempt) dial() {
	now := time.Now()
	a.dialling.Store(&now)
}

// attemptKey is the key of the attempt that a context belongs to. A connection is made with the
// values of the request that asked for it.
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
			a.dial()
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
	case a.dialled.Load() && !a.connected.Load() && !a.cutShort(err):
		return notConnected
	}
	return unknown
}

// cutShort reports whether the request's time ended before its connection had a fair time to be
// made.
func (a *attempt) cutShort(err error) bool {
	begin := a.dialling.Load()
	return begin == nil || errors.Is(err, context.DeadlineExceeded) && time.Since(*begin) < a.fair
}
