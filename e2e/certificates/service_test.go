// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/forward"
)

// service passes connections to the replicas that are ready, in turn, as kube-proxy does.
type service struct {
	address string

	mu       sync.Mutex
	closed   bool // the Service has no endpoints
	replicas []*cluster.Tagpin
	next     int
}

func startService(t *testing.T) *service {
	t.Helper()
	s := &service{}
	f, err := forward.Start(t.Context(), s.dial)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Stop)
	s.address = f.Address
	return s
}

func (s *service) port() string {
	_, port, _ := net.SplitHostPort(s.address) // can't fail
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
	return slices.Clone(s.replicas)
}

// dial connects to a replica that is ready.
func (s *service) dial(ctx context.Context) (net.Conn, error) {
	replicas := s.all()
	s.mu.Lock()
	first, closed := s.next, s.closed
	s.next++
	s.mu.Unlock()
	if closed {
		return nil, errors.New("the Service has no endpoints")
	}
	for i := range replicas {
		if r := replicas[(first+i)%len(replicas)]; r.Ready(ctx) == nil {
			return new(net.Dialer).DialContext(ctx, "tcp", r.Address())
		}
	}
	return nil, errors.New("no replica is ready")
}
