// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{address: l.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return // closed
			}
			running.Go(func() { p.pass(from, to) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	return p
}

func (p *tap) pass(from net.Conn, address string) {
	defer func() { _ = from.Close() }()
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = to.Close() }()
	sent := &bytes.Buffer{}
	p.mu.Lock()
	p.sent = append(p.sent, sent)
	p.mu.Unlock()
	var answers sync.WaitGroup
	answers.Go(func() {
		_, _ = io.Copy(from, to) // until one of them closes
		_ = from.Close()
	})
	_, _ = io.Copy(to, io.TeeReader(from, &locked{p: p, to: sent}))
	_ = to.Close()
	answers.Wait()
}

// locked writes to a buffer under the tap's lock.
type locked struct {
	p  *tap
	to *bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return l.to.Write(b)
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
