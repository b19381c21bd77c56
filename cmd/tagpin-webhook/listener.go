// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// listener bounds the connections of a port, in total and of one peer address, so that nobody who
// reaches the port can use up the memory or shut out others.
//
// A new connection of a peer that has all that it may have takes the place of its own connection that
// has waited longest for the peer. If the port has all that it may have, the peer with the most
// connections loses one: one that waits, or, if the newcomer's peer has fewer even then, one whose
// request is being answered. Where nothing can be closed, the new one is.
type listener struct {
	net.Listener
	bounds

	tls   *tls.Config // nil: no TLS
	log   logr.Logger
	start time.Time
	open  prometheus.Gauge
	early map[closeReason]*early // for each reason to close a connection early

	serving atomic.Bool // Accept has been called

	mu    sync.Mutex
	total int
	peers map[netip.Addr]map[*conn]struct{}
}

// closeReason says why a connection was closed early. It is a label of a metric.
type closeReason string

// The reasons, each with what the log says of it.
const (
	closeRefused   closeReason = "refused"
	closeDisplaced closeReason = "displaced"
	closeHeader    closeReason = "header"
	closeHandshake closeReason = "handshake"
)

var closeTexts = map[closeReason]string{
	closeRefused:   "connection refused: the port or the peer has too many with a request under way",
	closeDisplaced: "connection closed: a newer one needs its place",
	closeHeader:    "connection closed: a request's header has too many lines",
	closeHandshake: "TLS handshake failed",
}

// early counts the connections that are closed for one reason, and tells the log of some: whoever
// reaches the port can make any number of them.
type early struct {
	count     prometheus.Counter
	sometimes rate.Sometimes
}

// closed counts and tells of a connection that is closed early.
func (l *listener) closed(why closeReason, c *conn, values ...any) {
	e := l.early[why]
	e.count.Inc()
	e.sometimes.Do(func() {
		l.log.Info(closeTexts[why], append([]any{"peer", c.RemoteAddr().String()}, values...)...)
	})
}

// listen opens a port. Its name is the label of its metrics.
func listen(name, address string, b bounds, secure *tls.Config, log logr.Logger, m *connectionMetrics) (*listener, error) {
	under, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	l := &listener{
		Listener: under, bounds: b, tls: secure, log: log.WithName(name),
		start: time.Now().Add(-time.Nanosecond), // no time since then is 0
		open:  m.open.WithLabelValues(name),
		early: map[closeReason]*early{},
		peers: map[netip.Addr]map[*conn]struct{}{},
	}
	for why := range closeTexts {
		l.early[why] = &early{
			count:     m.closed.WithLabelValues(name, string(why)),
			sometimes: rate.Sometimes{First: 10, Interval: 10 * time.Second},
		}
	}
	return l, nil
}

// now is the time since the start.
func (l *listener) now() int64 { return int64(time.Since(l.start)) }

// Accept waits for the next connection that may stay.
func (l *listener) Accept() (net.Conn, error) {
	l.serving.Store(true)
	for {
		under, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := l.wrap(under)
		if l.enter(c) {
			return c, nil
		}
		l.closed(closeRefused, c)
		_ = under.Close()
	}
}

func (l *listener) wrap(under net.Conn) *conn {
	c := &conn{listener: l, raw: &metered{Conn: under}}
	c.Conn = c.raw
	if l.tls != nil {
		c.tls = tls.Server(c.raw, l.tls)
		c.Conn = c.tls
	} else {
		c.raw.unmetered = true
	}
	now := l.now()
	c.since.Store(now)
	if l.age > 0 {
		c.expires = time.Duration(now) + l.age/2 + rand.N(l.age/2)
	}
	return c
}

// enter takes c in, unless there is no room for it and none can be made.
func (l *listener) enter(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	peer := c.peer()
	if !l.roomLocked(peer) {
		return false
	}
	if l.peers[peer] == nil {
		l.peers[peer] = map[*conn]struct{}{}
	}
	l.peers[peer][c] = struct{}{}
	l.total++
	l.open.Inc()
	return true
}

// roomLocked reports whether there is room for one more connection of peer, after it has closed
// another one if necessary.
func (l *listener) roomLocked(peer netip.Addr) bool {
	own := l.peers[peer]
	if len(own) < l.perPeer && l.total < l.connections {
		return true
	}
	victim := longest(own, false)
	if largest := l.largestLocked(); len(own) < l.perPeer && len(largest) > len(own) {
		victim = longest(largest, len(largest) > len(own)+1)
	}
	if victim == nil {
		return false
	}
	l.closed(closeDisplaced, victim)
	l.removeLocked(victim)
	_ = victim.raw.Close()
	return true
}

// largestLocked is the largest of the peers' sets of connections.
func (l *listener) largestLocked() map[*conn]struct{} {
	var largest map[*conn]struct{}
	for _, open := range l.peers {
		if len(open) > len(largest) {
			largest = open
		}
	}
	return largest
}

// longest is the connection that has waited longest for its peer; nil if none waits. With busy it is
// then the one whose request has been there longest.
func longest(open map[*conn]struct{}, busy bool) *conn {
	var found *conn
	for c := range open {
		switch {
		case !busy && c.busy.Load():
		case found == nil, found.busy.Load() && !c.busy.Load():
			found = c
		case found.busy.Load() == c.busy.Load() && c.since.Load() < found.since.Load():
			found = c
		}
	}
	return found
}

// leave gives back the place of a connection.
func (l *listener) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removeLocked(c)
}

func (l *listener) removeLocked(c *conn) {
	peer := c.peer()
	open := l.peers[peer]
	if _, ok := open[c]; !ok {
		return // another one has taken its place
	}
	delete(open, c)
	l.total--
	l.open.Dec()
	if len(open) == 0 {
		delete(l.peers, peer)
	}
}

// peer is the address that a connection comes from.
func (c *conn) peer() netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
