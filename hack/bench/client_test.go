// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tagpin/tagpin/hack/bench/baseline"
)

// newTestCaller starts a server over TLS and returns a caller of it.
func newTestCaller(t *testing.T, handler http.Handler) *caller {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // callers hang up
	server.StartTLS()
	t.Cleanup(server.Close)
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	c := &caller{
		address: server.Listener.Addr().String(),
		config:  &tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS12},
	}
	t.Cleanup(c.close)
	return c
}

func testRequest(t *testing.T) request {
	t.Helper()
	body, err := review(true, "registry.example/app:1")
	if err != nil {
		t.Fatal(err)
	}
	return newRequest("127.0.0.1", body)
}

// TestServersAnswer calls the raw server and the floor, several times over one connection.
func TestServersAnswer(t *testing.T) {
	for name, handler := range map[string]http.Handler{
		baseline.Raw: baseline.NewRaw(), baseline.Floor: baseline.NewFloor(),
	} {
		t.Run(name, func(t *testing.T) {
			c, r := newTestCaller(t, handler), testRequest(t)
			for i := range int64(3) {
				if err := c.call(t.Context(), r, i, true); err != nil {
					t.Fatal(err)
				}
				var rv admissionv1.AdmissionReview
				if err := json.Unmarshal(c.body.Bytes(), &rv); err != nil {
					t.Fatal(err)
				}
				if want := fmt.Sprintf(uidFormat, i); string(rv.Response.UID) != want {
					t.Errorf("UID = %s, want %s", rv.Response.UID, want)
				}
				if !strings.Contains(string(rv.Response.Patch), baseline.Image) {
					t.Errorf("patch = %s, want one with %s", rv.Response.Patch, baseline.Image)
				}
			}
			if err := c.call(t.Context(), r, 9, false); err == nil {
				t.Error("call = nil, want an error, because there is a patch")
			}
		})
	}
}

// TestCallerConnectsAgain has a server that closes each connection after a request: with notice,
// without notice, and before any response.
func TestCallerConnectsAgain(t *testing.T) {
	var served atomic.Int64
	raw := baseline.NewRaw()
	closing := func(w http.ResponseWriter, r *http.Request) {
		switch served.Add(1) {
		case 1:
			w.Header().Set("Connection", "close")
		case 3:
			panic(http.ErrAbortHandler) // on a connection that was used before
		}
		raw.ServeHTTP(w, r)
	}
	c, r := newTestCaller(t, http.HandlerFunc(closing)), testRequest(t)
	for i := range int64(3) {
		if err := c.call(t.Context(), r, i, true); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	if got := served.Load(); got != 4 {
		t.Errorf("the server got %d requests, want 4", got)
	}
}

func TestCallerFails(t *testing.T) {
	c := newTestCaller(t, http.NotFoundHandler())
	if err := c.call(t.Context(), testRequest(t), 1, true); err == nil {
		t.Error("call = nil, want an error for status 404")
	}
	other := bytes.Replace(testRequest(t).text, []byte("POST"), []byte("JUNK"), 1)
	if err := c.call(t.Context(), request{other, 0}, 1, true); err == nil {
		t.Error("call = nil, want an error")
	}
}

func TestPercentile(t *testing.T) {
	var all []time.Duration
	for i := 200; i > 0; i-- {
		all = append(all, time.Duration(i))
	}
	for _, tt := range []struct {
		in      []time.Duration
		percent int
		want    time.Duration
	}{
		{all, 99, 198},
		{all, 50, 100},
		{all[:1], 99, 200},
	} {
		if got := percentile(tt.in, tt.percent); got != tt.want {
			t.Errorf("percentile(%d durations, %d) = %d, want %d", len(tt.in), tt.percent, got, tt.want)
		}
	}
}
