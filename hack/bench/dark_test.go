// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

func TestDarkHost(t *testing.T) {
	address, closeDark, err := newDarkHost(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer closeDark()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close()
		t.Fatal("a connection to the dark host was accepted")
	}
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
		t.Errorf("dial = %v, want no answer until the deadline", err)
	}
}
