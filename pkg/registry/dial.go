// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/tagpin/tagpin/pkg/fair"
)

const (
	// maxHandshake bounds what a server may send before its TLS handshake is over. Registries send
	// some 8 KiB. Go would hold a Certificate message of up to 256 KiB.
	maxHandshake = 64 << 10
	// maxDials bounds the connections that are being made at once to all registries. They are shared
	// as fair.Room says, so that one namespace has 128 at most.
	maxDials = 512
)

var (
	// errHandshake reports a server that sent more than maxHandshake.
	errHandshake = errors.New("TLS handshake too long")
	// errNoDial reports that a connection was not begun, since too many were being made.
	errNoDial = fmt.Errorf("%w: too many connections are being made", ErrNoRoom)
)

// dialFunc makes a connection to an address.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// inRoom makes connections by dial if there is room for one more of the sender and the namespace
// that the request is for. If not, that is no evidence against the registry.
func inRoom(dials *fair.Room, dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		a := attemptOf(ctx)
		a.dialling.Store(nil)
		if a.sender != "" { // else it is for a command line
			leave, err := dials.Enter(a.sender, a.namespace, 1)
			if err != nil {
				return nil, errNoDial
			}
			defer leave()
		}
		a.dial()
		return dial(ctx, network, address)
	}
}

// overTLS makes TLS connections over those of dial, with a bound on what is read meanwhile.
func overTLS(config *tls.Config, dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		plain, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		own := config.Clone()
		own.ServerName = host
		bounded := &handshakeConn{Conn: plain}
		conn := tls.Client(bounded, own)
		ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = plain.Close()
			return nil, err
		}
		bounded.over.Store(true)
		return conn, nil
	}
}

// handshakeConn is a connection of which at most maxHandshake bytes are read until the TLS
// handshake is over.
type handshakeConn struct {
	net.Conn
	read int // bytes; only used until the handshake is over
	over atomic.Bool
}

// Read implements net.Conn.
func (c *handshakeConn) Read(p []byte) (int, error) {
	if c.over.Load() {
		return c.Conn.Read(p)
	}
	if c.read >= maxHandshake {
		return 0, errHandshake
	}
	n, err := c.Conn.Read(p[:min(len(p), maxHandshake-c.read)])
	c.read += n
	return n, err
}
