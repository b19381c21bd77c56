// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Listener accepts the connections of a port. Port.Listen returns one.
type Listener struct {
	net.Listener

	port  Port
	start time.Time
	logs  map[closeReason]*rate.Sometimes // limit the lines for each reason

	serving, expired atomic.Bool

	mu          sync.Mutex
	handshaking pool // connections whose TLS handshake is under way
	open        pool // the others
}

// Serving reports whether Accept was called.
func (l *Listener) Serving() bool { return l.serving.Load() }

// Expire closes every connection after its next answer, as if it had reached its age.
func (l *Listener) Expire() { l.expired.Store(true) }

// Accept waits for the next connection that has a place.
func (l *Listener) Accept() (net.Conn, error) {
	l.serving.Store(true)
	for {
		under, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := l.newConn(under)
		if l.enter(c) {
			return c, nil
		}
		l.closedEarly(c, closeRefused)
		_ = under.Close()
	}
}

// now returns the time since the start.
func (l *Listener) now() int64 { return int64(time.Since(l.start)) }

func (l *Listener) newConn(under net.Conn) *conn {
	c := &conn{Conn: under, listener: l, peer: peerOf(under), raw: &limited{Conn: under}}
	if l.port.TLS != nil {
		c.tls = tls.Server(c.raw, l.port.TLS)
		c.Conn = c.tls
	}
	now := l.now()
	c.since.Store(now)
	if age := l.port.Bounds.Age; age > 0 {
		c.expires = now + int64(age/2+rand.N(age/2))
	}
	return c
}

// enter gives a new connection its first place, and reports whether there is one.
func (l *Listener) enter(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.countLocked()
	if c.tls == nil {
		return l.openLocked(c)
	}
	if len(l.handshaking) >= maxHandshakes {
		oldest := l.handshaking.longest(false, l.handshaking.count())
		l.displaceLocked(l.handshaking, oldest, closeDisplaced)
	}
	l.handshaking[c] = struct{}{}
	return true
}

// handshakeDone gives a connection its place among the open ones, and reports whether there is one.
func (l *Listener) handshakeDone(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.countLocked()
	return l.handshaking.remove(c) && l.openLocked(c)
}

// leave takes the place of a connection back, unless another one has taken it.
func (l *Listener) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.countLocked()
	l.handshaking.remove(c)
	l.open.remove(c)
}

func (l *Listener) countLocked() {
	l.port.Metrics.open.WithLabelValues(l.port.Name).Set(float64(len(l.handshaking) + len(l.open)))
}

// openLocked adds c to the open connections. It closes another one if necessary, in the order that
// the package's documentation describes.
func (l *Listener) openLocked(c *conn) bool {
	counts, bounds := l.open.count(), &l.port.Bounds
	own := counts[c.peer]
	if own >= bounds.PerPeer || len(l.open) >= bounds.Connections {
		victim, reason := l.open.longest(false, map[netip.Addr]int{c.peer: own}), closeDisplaced
		if victim == nil && own < bounds.PerPeer {
			victim = l.open.longest(false, counts)
		}
		if victim == nil && own < bounds.PerPeer {
			victim, reason = l.open.longest(true, counts), closeCut
			if victim != nil && counts[victim.peer] <= own+1 {
				return false
			}
		}
		if victim == nil {
			return false
		}
		l.displaceLocked(l.open, victim, reason)
	}
	l.open[c] = struct{}{}
	return true
}

func (l *Listener) displaceLocked(from pool, victim *conn, reason closeReason) {
	l.closedEarly(victim, reason)
	from.remove(victim)
	victim.lose()
	_ = victim.raw.Close()
}

// pool is a set of connections. It is small enough to be searched as a whole.
type pool map[*conn]struct{}

// remove reports whether c was in the pool.
func (p pool) remove(c *conn) bool {
	_, ok := p[c]
	delete(p, c)
	return ok
}

// count returns the number of connections of each peer.
func (p pool) count() map[netip.Addr]int {
	counts := map[netip.Addr]int{}
	for c := range p {
		counts[c.peer]++
	}
	return counts
}

// longest returns the connection that has been busy, or waiting, for longest, or nil. It belongs to
// the peer with the greatest count of those that have such a connection. Peers that are not in
// counts are left out.
func (p pool) longest(busy bool, counts map[netip.Addr]int) *conn {
	var found *conn
	for c := range p {
		n := counts[c.peer]
		if n == 0 || c.busy.Load() != busy {
			continue
		}
		if found == nil || n > counts[found.peer] ||
			n == counts[found.peer] && c.since.Load() < found.since.Load() {
			found = c
		}
	}
	return found
}
