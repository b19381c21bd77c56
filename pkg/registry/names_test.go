// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// nameserver returns a resolver that returns the addresses of some names, in order.
func nameserver(t *testing.T, names map[string][]string) *net.Resolver {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = conn.Close(); wg.Wait() })
	wg.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			if reply, err := dnsAnswer(m, names); err == nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	})
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}
	return &net.Resolver{PreferGo: true, Dial: dial}
}

func dnsAnswer(m dnsmessage.Message, names map[string][]string) ([]byte, error) {
	q := m.Questions[0]
	addrs, ok := names[strings.TrimSuffix(q.Name.String(), ".")]
	header := dnsmessage.Header{
		ID: m.ID, Response: true, Authoritative: true, RecursionAvailable: true,
	}
	reply := dnsmessage.Message{Header: header, Questions: m.Questions[:1]}
	if !ok {
		reply.RCode = dnsmessage.RCodeNameError
	}
	for _, text := range addrs {
		addr := netip.MustParseAddr(text)
		answer := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{
			Name: q.Name, Type: q.Type, Class: dnsmessage.ClassINET, TTL: 1,
		}}
		switch {
		case q.Type == dnsmessage.TypeA && addr.Is4():
			answer.Body = &dnsmessage.AResource{A: addr.As4()}
		case q.Type == dnsmessage.TypeAAAA && addr.Is6():
			answer.Body = &dnsmessage.AAAAResource{AAAA: addr.As16()}
		default:
			continue
		}
		reply.Answers = append(reply.Answers, answer)
	}
	return reply.Pack()
}

// listener listens on an address and counts the connections.
func listener(t *testing.T, address string) (l net.Listener, connections func() int) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	n := 0
	counted := &counting{Listener: l, count: func() { mu.Lock(); n++; mu.Unlock() }}
	return counted, func() int { mu.Lock(); defer mu.Unlock(); return n }
}

type counting struct {
	net.Listener
	count func()
}

func (c *counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.count()
	}
	return conn, err
}

// TestNames checks that of the addresses of a name only allowed ones are dialled. A proxy is not
// asked for a name that has an address that is not allowed.
func TestNames(t *testing.T) {
	good, toGood := listener(t, "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(good.Addr().String())
	bad, toBad := listener(t, "127.0.0.2:"+port)
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	})
	for _, l := range []net.Listener{good, bad} {
		config := &http.Server{Handler: ok} //nolint:gosec // no client is slow
		s := &httptest.Server{Listener: l, Config: config}
		s.Start()
		t.Cleanup(s.Close)
	}
	proxy := httptest.NewServer(ok)
	t.Cleanup(proxy.Close)
	proxied, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	resolver := nameserver(t, map[string][]string{
		"good.example": {"127.0.0.1"}, "bad.example": {"127.0.0.2"}, "badfirst.example": {"127.0.0.2", "127.0.0.1"}, "goodfirst.example": {"127.0.0.1", "127.0.0.2"},
		"mapped.example": {"::ffff:127.0.0.2"}, "six.example": {"::1", "127.0.0.1"}, "metadata.example": {"169.254.169.254", "fd00:ec2::254", "64:ff9b::a9fe:a9fe"},
	})
	for name, want := range map[string]struct{ direct, byProxy bool }{
		"good.example": {true, true}, "bad.example": {false, false}, "badfirst.example": {true, false}, "goodfirst.example": {true, false},
		"mapped.example": {false, false}, "six.example": {true, false}, "metadata.example": {false, false}, "unknown.example": {false, false},
	} {
		for _, direct := range []bool{true, false} {
			host := name + ":" + port
			c := &registry.Client{
				Hosts: []registry.Host{{Name: host, Insecure: true}},
				Network: network.Network{
					Rules:    network.Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
					Resolver: resolver,
					Proxy:    func(*http.Request) (*url.URL, error) { return nil, nil },
				},
			}
			expected := want.direct
			if !direct {
				c.Network.Proxy, expected = http.ProxyURL(proxied), want.byProxy || name == "unknown.example" // the config names it
			}
			_, err := c.Head(t.Context(), registry.Request{Ref: ref.MustParse(host + "/a:1")})
			c.Close()
			if (err == nil) != expected {
				t.Errorf("%s, directly %t: Head = %v, want an answer: %t", name, direct, err, expected)
			}
		}
	}
	if toBad() != 0 || toGood() == 0 {
		t.Errorf("%d connections to the refused address and %d to the allowed one, want none and some", toBad(), toGood())
	}
}

// TestProxyOfUnknownHosts checks that a proxy is not asked for a host that can't be looked up
// here and that the config does not name.
func TestProxyOfUnknownHosts(t *testing.T) {
	asked := false
	record := func(http.ResponseWriter, *http.Request) { asked = true }
	proxy := httptest.NewServer(http.HandlerFunc(record))
	defer proxy.Close()
	proxied, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := &registry.Client{Network: network.Network{
		Resolver: nameserver(t, nil), Proxy: http.ProxyURL(proxied),
	}}
	defer c.Close()
	if _, err := c.Head(t.Context(), registry.Request{Ref: ref.MustParse("unknown.example/a:1")}); err == nil || asked {
		t.Errorf("Head = %v, the proxy was asked: %t", err, asked)
	}
}

// TestProxyWithoutDNS checks that a proxy is asked for a host that the config names though DNS
// never answers.
func TestProxyWithoutDNS(t *testing.T) {
	t.Parallel() // because it waits
	asked := make(chan struct{}, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	proxied, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context()) // the resolver waits longer than the lookup
	defer end()
	dial := func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		context.AfterFunc(ended, func() { _ = server.Close() })
		go func() { _, _ = io.Copy(io.Discard, server) }()
		return client, ended.Err()
	}
	c := &registry.Client{
		Hosts: []registry.Host{{Name: "r.example"}},
		Network: network.Network{
			Resolver: &net.Resolver{PreferGo: true, Dial: dial}, Proxy: http.ProxyURL(proxied),
		},
	}
	defer c.Close()
	want := "r.example: the proxy 127.0.0.1: it answered 502 to CONNECT"
	if err := head(t.Context(), c, "r.example/a:1"); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	select {
	case <-asked:
	default:
		t.Error("the proxy was not asked")
	}
}

// TestProxyTellsNothing checks that a tenant does not learn from a proxy's answer what can be
// reached from there.
func TestProxyTellsNothing(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusGatewayTimeout)
	}))
	defer proxy.Close()
	proxied, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := &registry.Client{Network: network.Network{
		Resolver: nameserver(t, map[string][]string{"r.example": {"192.0.2.1"}}),
		Proxy:    http.ProxyURL(proxied),
	}}
	defer c.Close()
	err = head(t.Context(), c, "r.example/a:1")
	if err == nil || err.Error() != "r.example: unreachable" {
		t.Errorf("error %v, want r.example: unreachable", err)
	}
}

// TestProxyRefuses checks that a proxy at loopback is asked, since the operator has chosen it, and
// that its password is in no error.
func TestProxyRefuses(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") == "" {
			t.Errorf("%s %s, want CONNECT with the proxy's password", r.Method, r.URL)
		}
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer proxy.Close()
	proxied, err := url.Parse(strings.Replace(proxy.URL, "http://", "http://user:canary@", 1))
	if err != nil {
		t.Fatal(err)
	}
	c := &registry.Client{ExplainAll: true}
	c.Network.Resolver = nameserver(t, map[string][]string{"r.example": {"192.0.2.1"}})
	c.Network.Proxy = http.ProxyURL(proxied)
	defer c.Close()
	_, err = c.Head(t.Context(), registry.Request{Ref: ref.MustParse("r.example/a:1")})
	if err == nil || strings.Contains(err.Error(), "canary") || !strings.HasPrefix(err.Error(), "r.example: ") {
		t.Errorf("Head = %v, want an error of r.example without the password", err)
	}
}

// TestProxyNotFound checks that an error names the proxy if the proxy can't be reached.
func TestProxyNotFound(t *testing.T) {
	for name, tt := range map[string]struct {
		proxy string
		named bool
		want  string
	}{
		"short name":          {"squid.egress:3128", true, "r.example: the proxy squid.egress: DNS knows no such host; if it is a Service, write its name in full, as in registry.tools.svc.cluster.local"},
		"full name":           {"squid.egress.svc.cluster.local:3128", true, "r.example: the proxy squid.egress.svc.cluster.local: DNS knows no such host"},
		"nobody listens":      {"127.0.0.1:1", true, "r.example: the proxy 127.0.0.1: connection refused"},
		"of unknown registry": {"squid.egress:3128", false, "r.example: the proxy squid.egress: DNS knows no such host; if it is a Service, write its name in full, as in registry.tools.svc.cluster.local"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &registry.Client{Network: network.Network{
				Resolver: nameserver(t, map[string][]string{"r.example": {"192.0.2.1"}}),
				Proxy:    http.ProxyURL(&url.URL{Scheme: "http", Host: tt.proxy}),
				Rules:    network.Rules{Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
			}}
			if tt.named {
				c.Hosts = []registry.Host{{Name: "r.example"}}
			}
			t.Cleanup(c.Close)
			if err := head(t.Context(), c, "r.example/a:1"); err == nil || err.Error() != tt.want {
				t.Errorf("error %q, want %q", err, tt.want)
			}
		})
	}
}
