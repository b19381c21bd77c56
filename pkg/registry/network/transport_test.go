// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestHandshakeIsOver checks that nothing bounds a connection after its handshake.
func TestHandshakeIsOver(t *testing.T) {
	server, client := net.Pipe()
	defer func() { _ = client.Close() }()
	go func() {
		_, _ = server.Write(make([]byte, maxHandshake+1))
		_ = server.Close()
	}()
	c := &boundedConn{Conn: client, max: maxHandshake, err: errHandshake}
	total := 0
	for {
		n, err := c.Read(make([]byte, 1<<10))
		total += n
		if err != nil {
			break
		}
		if total == maxHandshake/2 {
			c.over.Store(true)
		}
	}
	if total != maxHandshake+1 {
		t.Errorf("%d bytes were read, want %d", total, maxHandshake+1)
	}
}

// TestHeaderLinesAreBounded checks that an answer with many lines of header is refused, because
// each line costs many times its own text.
func TestHeaderLinesAreBounded(t *testing.T) {
	for lines, ok := range map[int]bool{maxHeaderLines: true, maxHeaderLines + 1: false} {
		resp := &http.Response{Header: http.Header{}, Body: http.NoBody}
		for i := range lines {
			resp.Header.Add(fmt.Sprint("X-", i%7), "")
		}
		if _, err := checkHeader(resp, nil); (err == nil) != ok {
			t.Errorf("%d lines: %v", lines, err)
		}
	}
}
