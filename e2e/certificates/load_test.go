// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/poll"
)

// load makes requests and handshakes without a pause, and counts the failures.
type load struct {
	mu       sync.Mutex
	counts   map[string]int
	failures []string
}

// under makes a change while a load runs, which goes on for a while, and checks that nothing
// failed.
func under(t *testing.T, f *fixture, change func()) {
	t.Helper()
	const callers = 4
	l := &load{counts: map[string]int{}}
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			l.repeat(ctx, "requests", func(n int) error { return f.create(ctx, fmt.Sprintf("load-%d-%d", i, n)) })
		})
	}
	w := &witness{fixture: f}
	group.Go(func() { l.repeat(ctx, "handshakes", func(int) error { return w.look(ctx) }) })
	defer group.Wait()
	defer stop()
	l.await(t, 100) // the load runs before the change
	change()
	l.await(t, 100) // and after it
	stop()
	group.Wait()
	t.Logf("%d requests, %d rounds of handshakes, %d failed", l.counts["requests"], l.counts["handshakes"], len(l.failures))
	if len(l.failures) > 0 {
		t.Errorf("the first failure: %s", l.failures[0])
	}
}

// repeat calls do until ctx ends.
func (l *load) repeat(ctx context.Context, what string, do func(n int) error) {
	for n := 0; ctx.Err() == nil; n++ {
		err := do(n)
		if ctx.Err() != nil {
			return
		}
		l.mu.Lock()
		l.counts[what]++
		if err != nil {
			l.failures = append(l.failures, err.Error())
		}
		l.mu.Unlock()
	}
}

// await waits for the given number of further requests.
func (l *load) await(t *testing.T, more int) {
	t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.counts["requests"]
	}
	want := count() + more
	poll.Until(t, func(context.Context) error {
		if got := count(); got < want {
			return fmt.Errorf("%d requests, want %d", got, want)
		}
		return nil
	})
}

// create creates a pod as a dry run, and fails if it is not pinned.
func (f *fixture) create(ctx context.Context, name string) error {
	pod, err := clustertest.DryRun(ctx, env.Client, f.pods, clustertest.Pod(name, f.image))
	if err != nil {
		return err
	}
	if image := pod.Spec.Containers[0].Image; !strings.Contains(image, "@sha256:") {
		return fmt.Errorf("%s is not pinned: %s", name, image)
	}
	return nil
}

// witness acts as an API server that learns of changes late: it trusts what the registration
// contained a while ago. Unlike the real API server, it makes a new connection to each replica each
// time.
type witness struct {
	*fixture
	seen []sight
}

// sight is the CA bundle of the registration at a time.
type sight struct {
	at     time.Time
	bundle []byte
}

// behind is the delay of the witness.
const behind = 2 * time.Second

func (w *witness) look(ctx context.Context) error {
	live, err := w.registration(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	w.seen = append(w.seen, sight{now, live.Webhooks[0].ClientConfig.CABundle})
	for len(w.seen) > 1 && now.Sub(w.seen[1].at) >= behind {
		w.seen = w.seen[1:]
	}
	var errs []error
	for _, r := range w.service.all() {
		if r.Ready(ctx) == nil {
			_, err := handshake(ctx, r.Address(), w.seen[0].bundle)
			errs = append(errs, err)
		}
	}
	time.Sleep(20 * time.Millisecond)
	return errors.Join(errs...)
}

// handshake connects as the API server does, and returns the certificate of the server.
func handshake(ctx context.Context, address string, bundle []byte) (*x509.Certificate, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	config := &tls.Config{RootCAs: roots, ServerName: serverName, MinVersion: tls.VersionTLS12}
	dialer := &tls.Dialer{Config: config}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("handshake with %s: %w", address, err)
	}
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}
