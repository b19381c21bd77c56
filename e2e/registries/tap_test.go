// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"

	"github.com/tagpin/tagpin/e2e/forward"
	e2eregistry "github.com/tagpin/tagpin/e2e/registry"
)

// tap passes connections on and records what clients send.
type tap struct {
	address string

	mu   sync.Mutex
	sent []*bytes.Buffer // by connection
}

// startTap records what is sent to an address until the test ends.
func startTap(t testing.TB, to string) *tap {
	t.Helper()
	p := &tap{}
	f, err := forward.Start(t.Context(), func(ctx context.Context) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", to)
		if err != nil {
			return nil, err
		}
		recorded := &recordedConn{Conn: conn, tap: p, sent: &bytes.Buffer{}}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sent = append(p.sent, recorded.sent)
		return recorded, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Stop)
	p.address = f.Address
	return p
}

// recordedConn is a connection to the server, with what clients send.
type recordedConn struct {
	net.Conn
	tap  *tap
	sent *bytes.Buffer
}

func (c *recordedConn) Write(b []byte) (int, error) {
	c.tap.mu.Lock()
	c.sent.Write(b)
	c.tap.mu.Unlock()
	return c.Conn.Write(b)
}

// wantTLS checks that only TLS records were sent.
func (p *tap) wantTLS(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sent) == 0 {
		t.Error("nobody connected")
	}
	for _, sent := range p.sent {
		const handshake, alert = 22, 21 // RFC 8446, section 5.1
		if b := sent.Bytes(); len(b) > 0 && b[0] != handshake && b[0] != alert || bytes.Contains(b, []byte(" HTTP/1")) || bytes.Contains(b, []byte(e2eregistry.Canary)) {
			t.Errorf("sent %q, want nothing but TLS", b)
		}
	}
}
