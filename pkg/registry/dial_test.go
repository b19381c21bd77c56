// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/registry/network"
)

// local returns a client that may dial loopback addresses and explains its errors.
func local(t *testing.T, c *Client) *Client {
	t.Helper()
	c.Network.Rules = Loopback.Rules
	c.ExplainAll = true
	t.Cleanup(c.Close)
	_ = c.Init()
	return c
}

// TestHandshakeIsBounded checks that a server can't make tagpin hold a long certificate.
func TestHandshakeIsBounded(t *testing.T) {
	for copies, want := range map[int]string{0: "", 200: "its TLS handshake has more than 64 KiB"} {
		s, host, c := Serve(t, func(http.ResponseWriter, *http.Request) {})
		own := &s.TLS.Certificates[0]
		for range copies {
			own.Certificate = append(own.Certificate, own.Certificate[0])
		}
		_, err := c.Head(t.Context(), sent(host+"/a:1", "a"))
		if (err == nil) != (want == "") || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("Head, %d certificates = %v, want %q", copies+1, err, want)
		}
	}
}

// TestDialsAreShared checks that connections that are never ready take only the share of their
// namespace.
func TestDialsAreShared(t *testing.T) {
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	_, port, _ := net.SplitHostPort(silent.Addr().String())
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	c := local(t, &Client{Network: network.Network{Roots: pool}})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	const most, flood = network.MaxDials / 4, 250
	for i := range flood {
		wg.Go(func() {
			_, _ = c.Head(ctx, sent(fmt.Sprintf("127.0.1.%d:%s/a:1", i, port), "flood"))
		})
	}
	defer wg.Wait()
	defer cancel()
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		stats := c.dials.Stats()
		if stats.InUse == most && stats.Refused >= flood-most {
			break
		}
		if time.Since(begin) > DefaultTimeout*3/4 {
			t.Fatalf("Stats() = %+v, want %d in use and the others refused", stats, most)
		}
	}
	host := strings.TrimPrefix(s.URL, "https://")
	if _, err := c.Head(t.Context(), sent(host+"/a:1", "b")); err != nil {
		t.Errorf("Head of another namespace = %v, want an answer", err)
	}
}

// TestWaitForADialIsNoEvidence checks that a connection that was not made for lack of room closes
// no gate.
func TestWaitForADialIsNoEvidence(t *testing.T) {
	for scheme, listen := range map[string]func(http.Handler) *httptest.Server{
		"http": httptest.NewServer, "https": httptest.NewTLSServer,
	} {
		s := listen(http.NotFoundHandler())
		defer s.Close()
		host := strings.TrimPrefix(s.URL, scheme+"://")
		c := local(t, &Client{Hosts: []Host{{
			Name: host, Insecure: scheme == "http", Timeout: 50 * time.Millisecond,
		}}})
		var leaves []func()
		for {
			leave, err := c.dials.Enter("api", "a", 1)
			if err != nil {
				break
			}
			leaves = append(leaves, leave)
		}
		for range 2 {
			_, err := c.Head(t.Context(), sent(host+"/a:1", "a"))
			if !errors.Is(err, network.ErrNoRoom) || asError(err).remembered {
				t.Errorf("%s: Head = %v, want an error of this request", scheme, err)
			}
		}
		for _, leave := range leaves {
			leave()
		}
	}
}

// TestNoRoomForToken checks that a request for a token for which one namespace had no room fails
// for that namespace alone, and that the registry's challenge is still known afterwards.
func TestNoRoomForToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := withToken("https://r.example/token", nil)
		c := over(registry)
		head := func(image, namespace string) <-chan error {
			errs := make(chan error, 1)
			go func() { _, err := c.Head(t.Context(), head(image, namespace)); errs <- err }()
			synctest.Wait()
			return errs
		}
		if err := <-head("r.example/t/known:1", "other"); err != nil {
			t.Fatal(err)
		}
		full, hold := true, make(chan struct{})
		c.replace(roundTripper(func(r *http.Request) (*http.Response, error) {
			if full {
				<-hold
				full = false
				return nil, network.ErrNoRoom
			}
			return registry.RoundTrip(r)
		}))
		loud, other := head("r.example/t/a:1", "loud"), head("r.example/t/a:2", "other")
		close(hold)
		// If the request for the other namespace has begun before the lookup notices its failure, the
		// lookup waits for that one's token.
		if err := <-loud; err != nil && !errors.Is(err, network.ErrNoRoom) {
			t.Errorf("Head without room = %v, want %v or an answer", err, network.ErrNoRoom)
		}
		if err := <-other; err != nil {
			t.Errorf("Head of another namespace = %v, want an answer", err)
		}
		c.replace(roundTripper(func(*http.Request) (*http.Response, error) {
			return nil, network.ErrNoRoom
		}))
		if err := <-head("r.example/t/b:1", "loud"); !errors.Is(err, network.ErrNoRoom) {
			t.Errorf("Head without room = %v, want %v", err, network.ErrNoRoom)
		}
		if _, ok := c.challenges.Get(challengeKey{"r.example", "t/"}); !ok {
			t.Error("the registry's challenge was forgotten")
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// late is a registry that redirects to itself after a while, and then does not answer.
type late struct{ redirect time.Duration } // after how long

func (w *late) RoundTrip(r *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(r.Context())
	trace.GetConn(r.URL.Host)
	if r.URL.Path == "/again" {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	trace.GotConn(httptrace.GotConnInfo{})
	trace.WroteHeaders()
	time.Sleep(w.redirect)
	return &http.Response{
		StatusCode: http.StatusTemporaryRedirect,
		Header:     http.Header{"Location": {"/again"}},
		Body:       http.NoBody, Request: r,
	}, nil
}

// TestShortDialIsNoEvidence checks that a connection that had hardly any time closes no gate.
func TestShortDialIsNoEvidence(t *testing.T) {
	for redirect, want := range map[time.Duration]bool{
		0: true, DefaultTimeout - minDial: true, DefaultTimeout - 10*time.Millisecond: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			c := &Client{}
			_ = c.Init()
			c.replace(&late{redirect: redirect})
			if _, err := c.Head(t.Context(), head("r.example/a:1", "a")); err == nil {
				t.Fatal("Head = nil, want an error")
			}
			err := closed(c.gates, c.one(head("r.example/b:1", "b")).gates())
			if (err != nil) != want {
				t.Errorf("redirected after %v: %v, want the gate closed: %t", redirect, err, want)
			}
		})
	}
}

// sent returns a request with a sender.
func sent(image, namespace string) Request {
	r := head(image, namespace)
	r.Sender = "api"
	return r
}
