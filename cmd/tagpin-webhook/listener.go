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
// A TLS connection first makes its handshake, among maxHandshakes others: one more takes the place of
// the oldest one of the peer that has most of them. Then it needs a place among those that are open.
// If there is none, it takes that of a connection that waits for its peer: of its own peer, or else of
// the one with most connections. If none waits and its peer has fewer connections than another one,
// that one loses the request that has been answered for longest. Otherwise the new connection is
// closed.
type listener struct {
	net.Listener
	bounds

	tls   *tls.Config // nil: no TLS
	log   logr.Logger
	start time.Time
	count prometheus.Gauge
	early map[closeReason]*early // for each reason to close a connection early

	serving atomic.Bool // Accept has been called

	mu      sync.Mutex
	shaking pool // their handshake is not over
	open    pool
}

// pool is a set of connections, by peer.
type pool struct {
	total int
	peers map[netip.Addr]map[*conn]struct{}
}

func (p *pool) add(c *conn) {
	peer := c.peer()
	if p.peers == nil {
		p.peers = map[netip.Addr]map[*conn]struct{}{}
	}
	if p.peers[peer] == nil {
		p.peers[peer] = map[*conn]struct{}{}
	}
	p.peers[peer][c] = struct{}{}
	p.total++
}

// remove reports whether c was in the pool.
func (p *pool) remove(c *conn) bool {
	peer := c.peer()
	open := p.peers[peer]
	if _, ok := open[c]; !ok {
		return false
	}
	delete(open, c)
	p.total--
	if len(open) == 0 {
		delete(p.peers, peer)
	}
	return true
}

// longest returns, of the peer with most connections of those that have one, the connection that has
// been busy, or has not been, for longest; nil if there is none. size is how many that peer has.
func (p *pool) longest(busy bool) (found *conn, size int) {
	for _, open := range p.peers {
		if len(open) <= size {
			continue
		}
		if c := longest(open, busy); c != nil {
			found, size = c, len(open)
		}
	}
	return found, size
}

// longest is the connection that has been busy, or has not been, for longest; nil if there is none.
func longest(open map[*conn]struct{}, busy bool) *conn {
	var found *conn
	for c := range open {
		if c.busy.Load() == busy && (found == nil || c.since.Load() < found.since.Load()) {
			found = c
		}
	}
	return found
}

// closeReason says why a connection was closed early. It is a label of a metric.
type closeReason string

// The reasons, each with what the log says of it.
const (
	closeRefused   closeReason = "refused"
	closeDisplaced closeReason = "displaced"
	closeCut       closeReason = "cut"
	closeHeader    closeReason = "header"
	closeHandshake closeReason = "handshake"
)

var closeTexts = map[closeReason]string{
	closeRefused:   "connection refused: the port or the peer has too many with a request under way",
	closeDisplaced: "connection closed: a newer one needs its place",
	closeCut:       "connection closed in the middle of a request: another peer with fewer connections needs its place",
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
		count: m.open.WithLabelValues(name),
		early: map[closeReason]*early{},
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
	defer l.countLocked()
	if c.tls == nil {
		return l.openLocked(c)
	}
	if l.shaking.total >= maxHandshakes {
		oldest, _ := l.shaking.longest(false)
		l.displaceLocked(&l.shaking, oldest, closeDisplaced)
	}
	l.shaking.add(c)
	return true
}

// shaken takes in c, whose handshake is over, unless there is no room for it.
func (l *listener) shaken(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.countLocked()
	return l.shaking.remove(c) && l.openLocked(c)
}

func (l *listener) countLocked() { l.count.Set(float64(l.shaking.total + l.open.total)) }

// openLocked takes c in among the open connections, after it has closed another one if necessary.
func (l *listener) openLocked(c *conn) bool {
	own := l.open.peers[c.peer()]
	if len(own) >= l.perPeer || l.open.total >= l.connections {
		victim, why := longest(own, false), closeDisplaced
		if victim == nil && len(own) < l.perPeer {
			victim, _ = l.open.longest(false)
		}
		if victim == nil && len(own) < l.perPeer {
			if busy, size := l.open.longest(true); size > len(own)+1 {
				victim, why = busy, closeCut
			}
		}
		if victim == nil {
			return false
		}
		l.displaceLocked(&l.open, victim, why)
	}
	l.open.add(c)
	return true
}

func (l *listener) displaceLocked(from *pool, victim *conn, why closeReason) {
	l.closed(why, victim)
	from.remove(victim)
	_ = victim.raw.Close()
}

// leave gives back the place of a connection, unless another one has taken it.
func (l *listener) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.countLocked()
	l.shaking.remove(c)
	l.open.remove(c)
}

// peer is the address that a connection comes from.
func (c *conn) peer() netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
