// SPDX-License-Identifier: Apache-2.0

package listen

import "net/netip"

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
	conns := p.peers[peer]
	if _, ok := conns[c]; !ok {
		return false
	}
	delete(conns, c)
	p.total--
	if len(conns) == 0 {
		delete(p.peers, peer)
	}
	return true
}

// longest returns the connection that has been busy, or waiting, for longest. It belongs to the
// peer that has the most connections, of those that have such a connection. size is how many
// connections that peer has. If there is no such connection, longest returns nil.
func (p *pool) longest(busy bool) (found *conn, size int) {
	for _, conns := range p.peers {
		if len(conns) <= size {
			continue
		}
		if c := longest(conns, busy); c != nil {
			found, size = c, len(conns)
		}
	}
	return found, size
}

// longest returns the connection that has been busy, or waiting, for longest, or nil.
func longest(conns map[*conn]struct{}, busy bool) *conn {
	var found *conn
	for c := range conns {
		if c.busy.Load() == busy && (found == nil || c.since.Load() < found.since.Load()) {
			found = c
		}
	}
	return found
}
