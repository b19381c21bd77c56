// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"

	"github.com/tagpin/tagpin/pkg/fair"
)

// maxHandshake bounds the bytes that a server may send until its TLS handshake is over. Registries
// send about 8 KiB. Go would hold a Certificate message of up to 256 KiB.
const maxHandshake = 64 << 10

var (
	// ErrNoRoom reports that no connection was made because too many are being made. It says nothing
	// about the host.
	ErrNoRoom = errors.New("too many connections are being made")

	errHandshake    = errors.New("TLS handshake too long")
	errCertificates = errors.New("TLS certificates too large")
)

// These bound the certificates of a server, which a connection holds as long as it lives. Most
// chains have less than 8 KiB. In memory a name of two bytes takes 150.
const (
	maxChain = 32 << 10 // bytes
	maxNames = 1000
)

// checkCertificates returns errCertificates if a server's certificates need too much memory.
func checkCertificates(cs tls.ConnectionState) error {
	size, names := 0, 0
	for _, c := range cs.PeerCertificates {
		size += len(c.Raw)
		names += len(c.DNSNames) + len(c.URIs) + len(c.IPAddresses) + len(c.EmailAddresses)
	}
	if size > maxChain || names > maxNames {
		return errCertificates
	}
	return nil
}

// dialFunc connects to an address.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// inRoom returns a dial function that fails with ErrNoRoom if there is no room for one more
// connection of the request's sender and namespace.
func inRoom(dials *fair.Room, dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		p := progressOf(ctx)
		p.dialBegan.Store(nil)
		if p.caller.Sender != "" { // a command-line tool has no sender
			leave, err := dials.Enter(p.caller.Sender, p.caller.Namespace, 1)
			if err != nil {
				return nil, ErrNoRoom
			}
			defer leave()
		}
		p.dials()
		p.caller.begun()
		return dial(ctx, network, address)
	}
}

// overTLS returns a dial function that makes a TLS connection over one of dial. It bounds the bytes
// that are read until the handshake is over.
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
		config := config.Clone()
		config.ServerName = host
		bounded := &handshakeConn{Conn: plain}
		conn := tls.Client(bounded, config)
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = plain.Close()
			return nil, err
		}
		bounded.over.Store(true)
		return conn, nil
	}
}

// handshakeConn is a connection from which at most maxHandshake bytes are read until the TLS
// handshake is over.
type handshakeConn struct {
	net.Conn
	read int // bytes; only used until the handshake is over
	over atomic.Bool
}

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
