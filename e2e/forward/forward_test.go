// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// TestStart has a server behind the address, and then none.
func TestStart(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	defer server.Close()
	var down atomic.Bool
	address := start(t, func(ctx context.Context) (net.Conn, error) {
		if down.Load() {
			return nil, errors.New("down")
		}
		return new(net.Dialer).DialContext(ctx, "tcp", server.Listener.Addr().String())
	})
	get := func() (string, error) {
		transport := &http.Transport{DisableKeepAlives: true}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			return "", err
		}
		defer response.Body.Close() //nolint:errcheck // nothing was written
		body, err := io.ReadAll(response.Body)
		return string(body), err
	}
	if got, err := get(); err != nil || got != "hello" {
		t.Errorf("answer = %q, %v, want hello", got, err)
	}
	down.Store(true)
	if got, err := get(); err == nil {
		t.Errorf("answer without a server = %q, want an error", got)
	}
}

// TestOpenConnections ends while a connection is open on both sides.
func TestOpenConnections(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // nothing was written
	var client net.Conn
	t.Run("open", func(t *testing.T) {
		address := start(t, func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
		})
		if client, err = new(net.Dialer).DialContext(t.Context(), "tcp", address); err != nil {
			t.Fatal(err)
		}
		server, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
	})
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open after the end of the test")
	}
}

// start starts to forward until the test ends.
func start(t *testing.T, dial func(context.Context) (net.Conn, error)) (address string) {
	t.Helper()
	f, err := Start(t.Context(), dial)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Stop)
	return f.Address
}
