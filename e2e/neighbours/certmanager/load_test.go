// SPDX-License-Identifier: Apache-2.0

package certmanager

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
)

// load creates pods and connects to the replicas without a pause.
type load struct {
	mu       sync.Mutex
	rounds   int
	failures []error
}

// enough is the number of rounds before and after a change.
const enough = 50

// under makes changes under load, and checks that nothing fails. Between two changes, more waits
// while the load goes on.
func (r *release) under(change func(more func())) {
	r.t.Helper()
	l := &load{}
	ctx, stop := context.WithCancel(r.t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		for ctx.Err() == nil {
			l.count(ctx, r.round(ctx))
		}
	})
	defer group.Wait()
	defer stop()
	more := func() {
		r.t.Helper()
		want := l.done() + enough
		r.Eventually("the load", func(context.Context) error {
			if got := l.done(); got < want {
				return fmt.Errorf("%d rounds, want %d", got, want)
			}
			return nil
		})
	}
	more()
	change(more)
	more()
	stop()
	group.Wait()
	if len(l.failures) > 0 {
		r.t.Errorf("%d of %d rounds failed; the first: %v", len(l.failures), l.rounds, l.failures[0])
	}
}

func (l *load) count(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rounds++
	if err != nil {
		l.failures = append(l.failures, err)
	}
}

func (l *load) done() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rounds
}

// round creates a pod, and makes a new connection to each replica. The API server would keep the
// connections that it has.
func (r *release) round(ctx context.Context) error {
	bundle, err := caBundle(ctx)
	errs := []error{err, r.pinned(ctx)}
	for _, replica := range r.replicas() {
		_, err := handshake(ctx, replica.Address(), bundle)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// handshake connects as the API server does, and returns the certificate of the server.
func handshake(ctx context.Context, address string, bundle []byte) (*x509.Certificate, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	dialer := &tls.Dialer{Config: &tls.Config{
		RootCAs: roots, ServerName: "tagpin-webhook." + namespace + ".svc", MinVersion: tls.VersionTLS12,
	}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("handshake with %s: %w", address, err)
	}
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}
