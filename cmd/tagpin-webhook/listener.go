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
)

// listener bounds the connections of a port, in total and of one peer address, so that nobody who
// reaches the port can use up the memory or shut out others.
//
// If a peer has all connections that it may have, a new one takes the place of its own connection
// that has waited longest without a request that has come whole. If the port has all that it may
// have, the same holds for the peer with the most connections. A connection whose request is being
// answered is never closed; if all are, the new one is.
type listener struct {
	net.Listener
	bounds

	tls    *tls.Config // nil: no TLS
	log    logr.Logger
	start  time.Time
	open   prometheus.Gauge
	closed func(reason string) // counts a connection that was closed early

	serving atomic.Bool // Accept has been called

	mu    sync.Mutex
	total int
	peers map[netip.Addr]map[*conn]struct{}
}

// listen opens a port. Its name is the label of its metrics.
func listen(name, address string, b bounds, secure *tls.Config, log logr.Logger, m *connectionMetrics) (*listener, error) {
	under, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return &listener{
		Listener: under, bounds: b, tls: secure, log: log.WithName(name),
		start:  time.Now().Add(-time.Nanosecond), // no time since then is 0
		open:   m.open.WithLabelValues(name),
		closed: func(reason string) { m.closed.WithLabelValues(name, reason).Inc() },
		peers:  map[netip.Addr]map[*conn]struct{}{},
	}, nil
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
		if c := l.wrap(under); l.enter(c) {
			return c, nil
		}
		l.closed("refused")
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
	victims := l.peers[peer]
	switch {
	case len(victims) >= l.perPeer:
	case l.total >= l.connections:
		victims = l.largestLocked()
	default:
		return true
	}
	victim := longest(victims)
	if victim == nil {
		return false
	}
	l.closed("displaced")
	l.removeLocked(victim)
	_ = victim.raw.Close()
	return true
}

// largestLocked is the largest of the peers' sets of connections that one can be taken from.
func (l *listener) largestLocked() map[*conn]struct{} {
	var largest map[*conn]struct{}
	for _, open := range l.peers {
		if len(open) > len(largest) && longest(open) != nil {
			largest = open
		}
	}
	return largest
}

// longest is the connection that has waited longest for a whole request; nil if none waits.
func longest(open map[*conn]struct{}) *conn {
	var found *conn
	for c := range open {
		if !c.busy.Load() && (found == nil || c.since.Load() < found.since.Load()) {
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
