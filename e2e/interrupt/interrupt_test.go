// SPDX-License-Identifier: Apache-2.0

package interrupt

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// soon bounds the wait for a signal.
const soon = 10 * time.Second

// TestClosedConnection writes to a connection that the other side has closed, as a registry does
// when a client was killed. That must not look like a request to end.
func TestClosedConnection(t *testing.T) {
	ctx, stop := Context()
	defer stop()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // nothing was written
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(soon); !errors.Is(err, syscall.EPIPE); _, err = server.Write([]byte("a")) {
		if time.Now().After(end) {
			t.Fatalf("writing to a closed connection: %v, want EPIPE", err)
		}
	}
	// Signals are delivered in order: when this one has arrived, SIGPIPE has arrived too.
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(soon):
		t.Fatal("SIGHUP did not end the context")
	}
	if cause := context.Cause(ctx); !strings.Contains(cause.Error(), "hangup") {
		t.Errorf("cause = %v, want the signal SIGHUP", cause)
	}
}
