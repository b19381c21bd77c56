// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/tagpin/tagpin/e2e/cluster"
)

// service passes connections to the replicas that are ready, in turn, as kube-proxy does.
type service struct {
	listener net.Listener
	group    sync.WaitGroup

	mu       sync.Mutex
	closed   bool // the Service has no endpoints
	replicas []*cluster.Tagpin
	next     int
	open     map[net.Conn]bool
}

func startService(t *testing.T) *service {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{listener: l, open: map[net.Conn]bool{}}
	s.group.Go(s.serve)
	t.Cleanup(s.stop)
	return s
}

func (s *service) port() string {
	_, port, _ := net.SplitHostPort(s.listener.Addr().String()) // can't fail
	return port
}

func (s *service) add(t *cluster.Tagpin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replicas = append(s.replicas, t)
}

// setClosed removes the endpoints of the Service, or restores them.
func (s *service) setClosed(closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = closed
}

func (s *service) all() []*cluster.Tagpin {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*cluster.Tagpin(nil), s.replicas...)
}

func (s *service) serve() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.group.Go(func() { s.pass(conn) })
	}
}

// choose returns a replica that is ready, or nil.
func (s *service) choose(ctx context.Context) *cluster.Tagpin {
	replicas := s.all()
	s.mu.Lock()
	first, closed := s.next, s.closed
	s.next++
	s.mu.Unlock()
	if closed {
		return nil
	}
	for i := range replicas {
		if r := replicas[(first+i)%len(replicas)]; r.Ready(ctx) == nil {
			return r
		}
	}
	return nil
}

func (s *service) pass(in net.Conn) {
	defer s.close(in)
	ctx := context.Background() // the connections end it
	r := s.choose(ctx)
	if r == nil {
		return
	}
	out, err := new(net.Dialer).DialContext(ctx, "tcp", r.Address())
	if err != nil {
		return
	}
	defer s.close(out)
	s.mu.Lock()
	s.open[in], s.open[out] = true, true
	s.mu.Unlock()
	s.group.Go(func() {
		_, _ = io.Copy(out, in)
		s.close(out)
	})
	_, _ = io.Copy(in, out)
}

func (s *service) close(c net.Conn) {
	_ = c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

func (s *service) stop() {
	_ = s.listener.Close()
	s.mu.Lock()
	for c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.group.Wait()
}
