// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// newClient returns a client of a server that speaks HTTP/2 over TLS. through changes the address
// that the client connects to, and wrap the client's transport.
func newClient(
	t *testing.T, wrap func(http.RoundTripper) http.RoundTripper, handler http.HandlerFunc,
	through func(string) string,
) kubernetes.Interface {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	config := &rest.Config{Host: "https://" + through(server.Listener.Addr().String())}
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	config.CAData = pem.EncodeToMemory(block)
	config.ServerName = "example.com"
	config.Dial = new(net.Dialer).DialContext // else clients with the same CA share a transport
	config.Wrap(wrap)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CoreV1().RESTClient().(*rest.RESTClient).Client.CloseIdleConnections)
	return client
}

// silent is a proxy. After freeze, it drops what comes over the connections that are open, without
// closing them.
type silent struct {
	t        *testing.T
	listener net.Listener
	group    sync.WaitGroup
	open     []net.Conn
	mu       sync.Mutex
	frozen   []*atomic.Bool
}

func (s *silent) pass(to string) string {
	var err error
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		s.t.Fatal(err)
	}
	s.group.Go(func() {
		for {
			in, err := s.listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				s.t.Error(err)
				return
			}
			frozen := &atomic.Bool{}
			s.mu.Lock()
			s.open, s.frozen = append(s.open, in, out), append(s.frozen, frozen)
			s.mu.Unlock()
			s.group.Go(func() { forward(in, out, frozen) })
			s.group.Go(func() { forward(out, in, frozen) })
		}
	})
	s.t.Cleanup(s.close)
	return s.listener.Addr().String()
}

func forward(to io.Writer, from io.Reader, frozen *atomic.Bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if !frozen.Load() {
			_, _ = to.Write(buffer[:n])
		}
	}
}

func (s *silent) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.frozen {
		f.Store(true)
	}
}

func (s *silent) close() {
	_ = s.listener.Close()
	s.mu.Lock()
	for _, c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.group.Wait()
}

// TestSilentAPIServer checks that the next request uses a new connection if an API server stops
// answering without closing the former one.
func TestSilentAPIServer(t *testing.T) {
	t.Setenv("HTTP2_READ_IDLE_TIMEOUT_SECONDS", "1")
	t.Setenv("HTTP2_PING_TIMEOUT_SECONDS", "1")
	setPings()
	network := &silent{t: t}
	var protocols sync.Map
	client := newClient(t, boundStreams, func(w http.ResponseWriter, r *http.Request) {
		protocols.Store(r.Proto, true)
		_, _ = io.WriteString(w, `{"major":"1"}`)
	}, network.pass)
	if _, err := client.Discovery().ServerVersion(); err != nil {
		t.Fatal(err)
	}
	network.freeze()
	// With client-go's own timeouts, it would take longer than this.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		err := client.CoreV1().RESTClient().Get().AbsPath("/version").Do(ctx).Error()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the frozen connection is still used: %v", err)
		}
	}
	if _, ok := protocols.Load("HTTP/2.0"); !ok {
		t.Error("the client does not speak HTTP/2, without which there are no pings")
	}
}

// TestSetPings checks that the timeouts are set if they were not.
func TestSetPings(t *testing.T) {
	t.Setenv("HTTP2_READ_IDLE_TIMEOUT_SECONDS", "")
	t.Setenv("HTTP2_PING_TIMEOUT_SECONDS", "7")
	setPings()
	idle, ping := os.Getenv("HTTP2_READ_IDLE_TIMEOUT_SECONDS"), os.Getenv("HTTP2_PING_TIMEOUT_SECONDS")
	if idle != "5" || ping != "7" {
		t.Errorf("the timeouts are %s s and %s s, want 5 s, and 7 s as it was", idle, ping)
	}
}

// TestReadsDelayNoRenewal checks that many reads of pull secrets, which tenants cause, take no
// requests from the client that keeps the certificate and the registration.
func TestReadsDelayNoRenewal(t *testing.T) {
	t.Setenv("HTTP2_READ_IDLE_TIMEOUT_SECONDS", "5")
	t.Setenv("HTTP2_PING_TIMEOUT_SECONDS", "5")
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(api.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := "{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a}}], " +
		"clusters: [{name: a, cluster: {server: '" + api.URL + "'}}]}"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := (&server{options: options{kubeconfig: path}}).connect()
	if err != nil {
		t.Fatal(err)
	}
	for range clientBurst {
		if err := a.get(t.Context(), "shop", "secrets", "pull", new(corev1.Secret)); err != nil {
			t.Fatal(err)
		}
	}
	limiter := a.client.CoreV1().RESTClient().GetRateLimiter()
	for n := range clientBurst {
		if !limiter.TryAccept() {
			t.Fatalf("after %d reads, %d requests are allowed at once, want %d", clientBurst, n, clientBurst)
		}
	}
}

// TestTimeOfTheAPIServer checks that the time is that of the API server once it has answered.
func TestTimeOfTheAPIServer(t *testing.T) {
	var none *clock
	const ahead = 61 * 24 * time.Hour
	c := &clock{}
	client := newClient(t, c.wrap, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		_, _ = io.WriteString(w, `{"major":"1"}`)
	}, func(address string) string { return address })
	clocks := map[string]*clock{"without an API server": none, "before an answer": c}
	for name, from := range clocks {
		if off := time.Until(from.now()); off > time.Minute {
			t.Errorf("%s: now is %v ahead, want the time of this machine", name, off)
		}
	}
	if _, err := client.Discovery().ServerVersion(); err != nil {
		t.Fatal(err)
	}
	if off := time.Until(c.now()) - ahead; off.Abs() > time.Minute {
		t.Errorf("now differs from the time of the API server by %v", off)
	}
}

// TestUnreadAnswers checks that the API server can't send much of an answer before it is read.
func TestUnreadAnswers(t *testing.T) {
	const size = 1 << 20
	sent := make(chan struct{})
	client := newClient(t, boundStreams, func(w http.ResponseWriter, _ *http.Request) {
		defer close(sent)
		_, _ = w.Write(make([]byte, size))
	}, func(address string) string { return address })
	answer, err := client.CoreV1().RESTClient().Get().AbsPath("/large").Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close() //nolint:errcheck // it was only read
	select {
	case <-sent:
		t.Error("all of an answer was sent before it was read")
	case <-time.After(time.Second / 2):
	}
	if n, err := io.Copy(io.Discard, answer); n != size || err != nil {
		t.Errorf("read %d bytes, %v, want %d", n, err, size)
	}
}
