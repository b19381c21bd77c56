// SPDX-License-Identifier: Apache-2.0

// Package listen opens ports whose connections and headers are bounded, so that nobody who reaches
// a port can use up the memory of the process or keep others out.
//
//	port := listen.Port{Name: "metrics", Address: ":8080", Bounds: bounds, Log: log, Metrics: m}
//	l, err := port.Listen()
//	if err != nil {
//		return err
//	}
//	return l.Server(handler).Serve(l)
//
// A TLS connection begins with its handshake. If too many handshakes of a port are under way, the
// port closes a connection: of the peer address that has the most handshakes, the one with the
// oldest. After its handshake, a connection needs a place among the open ones. If there is none, it
// takes the place of another connection, the first of:
//
//  1. of its own peer, the one that has been waiting for its peer for longest;
//  2. of the peer that has the most connections, the one that has been waiting for longest;
//  3. if none waits, of the peer that has the most connections, the one whose request has been
//     under way for longest, if the new connection's peer has fewer connections.
//
// A peer that has its greatest number of connections only takes places of its own. If no connection
// can be displaced, the new one is closed.
package listen

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
)

// Bounds of each connection, on every port. A request of an API server has 8 header lines and less
// than 1 KiB, or a few KiB with the token of a kubeconfig.
const (
	// HeaderTime is how long a handshake may take, and each header after its first byte.
	HeaderTime = 5 * time.Second
	// maxHandshakes is the number of concurrent TLS handshakes of a port. An API server keeps 25 idle
	// connections, so that a burst of requests begins with as many handshakes.
	maxHandshakes = 512
	// maxHeaderBytes is the limit of http.Server, which adds 4 KiB. The sum is 16 KiB.
	maxHeaderBytes = 12 << 10
	// maxHeaderLines limits the memory of a header. Go needs about 100 bytes for each line, even if
	// it is short: 16 KiB with lines of five bytes would need 400 KiB.
	maxHeaderLines = 64
	// maxHandshakeBytes limits what the peer sends in a TLS handshake. The largest part of it are
	// client certificates.
	maxHandshakeBytes = 24 << 10
)

// Bounds are the limits of one port.
type Bounds struct {
	// Connections is the number of open connections, and PerPeer the number of those from one
	// address.
	Connections, PerPeer int
	// Age is the greatest age of a connection, which is closed after the next answer. The age of
	// each connection is chosen at random between half of it and all of it, so that the connections
	// of an API server don't end together. If 0, connections may become as old as they like.
	Age time.Duration
	// ReadTime is how long a request may take to arrive with its body. If 0, the handler sets the
	// deadline.
	ReadTime time.Duration
	// WriteTime is how long the handler and its answer may take after the header has arrived.
	WriteTime time.Duration
	// IdleTime is how long a connection stays open without a request.
	IdleTime time.Duration
}

// Port is a port that is to be opened. All fields but TLS and Log are required.
type Port struct {
	// Name is the label of the port's metrics, and its name in the log.
	Name string
	// Address is the TCP address.
	Address string
	Bounds  Bounds
	// TLS is the configuration of a port that speaks TLS.
	TLS     *tls.Config
	Log     logr.Logger
	Metrics *Metrics
}

// Listen opens the port.
func (p Port) Listen() (*Listener, error) {
	under, err := new(net.ListenConfig).Listen(context.Background(), "tcp", p.Address)
	if err != nil {
		return nil, err
	}
	l := &Listener{
		Listener:    under,
		port:        p,
		start:       time.Now().Add(-time.Nanosecond), // so that no time since then is 0
		logs:        map[closeReason]*rate.Sometimes{},
		handshaking: pool{},
		open:        pool{},
	}
	l.port.Log = p.Log.WithName(p.Name)
	for reason := range closeTexts {
		l.logs[reason] = &rate.Sometimes{First: 10, Interval: 10 * time.Second}
	}
	return l, nil
}
