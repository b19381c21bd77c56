// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"syscall"
	"time"
)

// Evidence is what a failed request has shown of the network. It is a reason to expect that the
// next request fails too.
type Evidence int

const (
	// Nothing means that perhaps the request was not sent at all.
	Nothing Evidence = iota
	// NotConnected means that dialling, TLS or a proxy's CONNECT failed or took too long.
	NotConnected
	// Broken means that the connection hung or ended before the answer was complete.
	Broken
)

// Caller is whom a request is sent for.
type Caller struct {
	Sender, Namespace string // as fair.Room has them; an empty Sender has no bound
	// MinDial is the time that a connection needs to be made. If it had less, its failure is no
	// evidence.
	MinDial time.Duration
	// Begun is called when there is a connection for the request, or room to make one. It may be
	// called several times, and may be nil.
	Begun func()
}

func (c *Caller) begun() {
	if c.Begun != nil {
		c.Begun()
	}
}

// Progress records how far one request has come on the wire. A request that could not be built, or
// that the transport refused to send, has dialled nothing and written nothing, so that its failure
// is no evidence. The transport may call the hooks after the request has been given up.
type Progress struct {
	caller Caller

	asked     atomic.Bool               // for a connection
	dialBegan atomic.Pointer[time.Time] // nil while the dial asks for room
	connected atomic.Bool
	reused    atomic.Bool // the connection was an idle one
	wrote     atomic.Bool // the request's header
	answered  atomic.Bool // the first byte of the answer has come
}

// NewProgress returns the progress of one request for a caller.
func NewProgress(c Caller) *Progress { return &Progress{caller: c} }

// Do sends the request.
func (p *Progress) Do(c *http.Client, r *http.Request) (*http.Response, error) {
	ctx := context.WithValue(r.Context(), progressKey{}, p)
	return c.Do(r.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { // also for each redirect
			p.connected.Store(false)
			p.wrote.Store(false)
			p.asked.Store(true)
			p.dials()
		},
		GotConn: func(info httptrace.GotConnInfo) {
			p.connected.Store(true)
			p.reused.Store(info.Reused)
			p.caller.begun()
		},
		WroteHeaders:         func() { p.wrote.Store(true) },
		GotFirstResponseByte: func() { p.answered.Store(true) },
	})))
}

// dials records that a connection is being made from now on.
func (p *Progress) dials() {
	now := time.Now()
	p.dialBegan.Store(&now)
}

// LostIdle reports whether the request was sent over an idle connection and got no answer at all,
// probably because the server had closed that connection. net/http itself sends such a request
// again by HTTP/1.1, but not by HTTP/2.
func (p *Progress) LostIdle() bool { return p.reused.Load() && !p.answered.Load() }

// Evidence returns what the request's failure has shown of the network.
func (p *Progress) Evidence(err error) Evidence {
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, ErrNoRoom):
		return Nothing // the cause is here
	case p.wrote.Load():
		return Broken
	case p.asked.Load() && !p.connected.Load() && !p.cutShort(err):
		return NotConnected
	}
	return Nothing
}

// cutShort reports whether the request's time ended before its connection had MinDial.
func (p *Progress) cutShort(err error) bool {
	began := p.dialBegan.Load()
	return began == nil ||
		errors.Is(err, context.DeadlineExceeded) && time.Since(*began) < p.caller.MinDial
}

// progressKey is the key of a context's Progress. The transport dials with the values of the
// request.
type progressKey struct{}

func progressOf(ctx context.Context) *Progress {
	if p, ok := ctx.Value(progressKey{}).(*Progress); ok {
		return p
	}
	return new(Progress)
}
