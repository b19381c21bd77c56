// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"crypto/tls"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Listener accepts the connections of a port. Port.Listen returns one.
type Listener struct {
	net.Listener

	port  Port
	start time.Time
	early map[closeReason]*earlyCloses

	serving atomic.Bool

	mu          sync.Mutex
	handshaking pool // connections whose TLS handshake is under way
	open        pool // the others
}

// Serving reports whether Accept was called.
func (l *Listener) Serving() bool { return l.serving.Load() }

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
	c := &conn{listener: l, raw: &limited{Conn: under}}
	c.Conn = c.raw
	if l.port.TLS != nil {
		c.tls = tls.Server(c.raw, l.port.TLS)
		c.Conn = c.tls
	} else {
		c.raw.unlimited = true
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
	if l.handshaking.total >= maxHandshakes {
		oldest, _ := l.handshaking.longest(false)
		l.displaceLocked(&l.handshaking, oldest, closeDisplaced)
	}
	l.handshaking.add(c)
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
	l.port.Metrics.open.WithLabelValues(l.port.Name).Set(float64(l.handshaking.total + l.open.total))
}

// openLocked adds c to the open connections. It closes another one if necessary, in the order that
// the package's documentation describes.
func (l *Listener) openLocked(c *conn) bool {
	own := l.open.peers[c.peer()]
	mayDisplaceOthers := len(own) < l.port.Bounds.PerPeer
	if !mayDisplaceOthers || l.open.total >= l.port.Bounds.Connections {
		victim, reason := longest(own, false), closeDisplaced
		if victim == nil && mayDisplaceOthers {
			victim, _ = l.open.longest(false)
		}
		if victim == nil && mayDisplaceOthers {
			if busy, size := l.open.longest(true); size > len(own)+1 {
				victim, reason = busy, closeCut
			}
		}
		if victim == nil {
			return false
		}
		l.displaceLocked(&l.open, victim, reason)
	}
	l.open.add(c)
	return true
}

func (l *Listener) displaceLocked(from *pool, victim *conn, reason closeReason) {
	l.closedEarly(victim, reason)
	from.remove(victim)
	_ = victim.raw.Close()
}
