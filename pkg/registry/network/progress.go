// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"crypto/tls"
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

// Do sends a request for a caller. It does not follow redirects. net/http sends the request once
// more if it was sent over an idle connection that ended without an answer. evidence is what a
// failure has shown.
func Do(
	t http.RoundTripper, r *http.Request, caller Caller,
) (resp *http.Response, evidence Evidence, err error) {
	p := &progress{caller: caller}
	if resp, err = p.do(t, r); err != nil {
		return nil, p.evidence(err), err
	}
	return resp, Nothing, nil
}

// progress records how far one request has come on the wire. A request that could not be built, or
// that the transport refused to send, has dialled nothing and written nothing, so that its failure
// is no evidence. The transport may call the hooks after the request has been given up.
type progress struct {
	caller Caller

	asked     atomic.Bool               // for a connection
	dialBegan atomic.Pointer[time.Time] // nil while the dial asks for room
	connected atomic.Bool
	wrote     atomic.Bool // the request's header
	// handshakeDone gives back the room of a connection through a proxy. It is nil if there is none.
	handshakeDone atomic.Pointer[func()]
	bound         atomic.Pointer[boundedConn] // of the connection; nil if there is none
}

func (p *progress) do(t http.RoundTripper, r *http.Request) (*http.Response, error) {
	ctx := context.WithValue(r.Context(), progressKey{}, p)
	resp, err := t.RoundTrip(r.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { // also when net/http sends the request once more
			p.connected.Store(false)
			p.wrote.Store(false)
			p.asked.Store(true)
			p.dials()
		},
		GotConn: func(info httptrace.GotConnInfo) {
			p.connected.Store(true)
			bounded := boundOf(info.Conn)
			if p.bound.Store(bounded); bounded != nil {
				bounded.ready()
			}
			p.caller.begun()
		},
		TLSHandshakeDone: func(tls.ConnectionState, error) {
			if leave := p.handshakeDone.Load(); leave != nil {
				(*leave)()
			}
		},
		WroteHeaders: func() { p.wrote.Store(true) },
	})))
	if bounded := p.bound.Load(); err == nil && bounded != nil {
		resp.Body = &boundedBody{resp.Body, bounded}
	}
	return resp, err
}

// dials records that a connection is being made from now on.
func (p *progress) dials() {
	now := time.Now()
	p.dialBegan.Store(&now)
}

// evidence returns what the request's failure has shown of the network.
func (p *progress) evidence(err error) Evidence {
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
func (p *progress) cutShort(err error) bool {
	began := p.dialBegan.Load()
	return began == nil ||
		errors.Is(err, context.DeadlineExceeded) && time.Since(*began) < p.caller.MinDial
}

// progressKey is the key of a context's progress. The transport dials with the values of the
// request.
type progressKey struct{}

func progressOf(ctx context.Context) *progress {
	if p, ok := ctx.Value(progressKey{}).(*progress); ok {
		return p
	}
	return new(progress)
}
