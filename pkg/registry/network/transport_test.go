// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bufio"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tagpin/tagpin/pkg/fair"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answerInPieces answers each request over TLS by an answer in records of size bytes.
func answerInPieces(t *testing.T, answer string, size int) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		requests := bufio.NewReader(conn)
		for err == nil {
			for piece := range slices.Chunk([]byte(answer), size) {
				if _, err := conn.Write(piece); err != nil {
					return
				}
			}
			_, err = http.ReadRequest(requests)
		}
	}))
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// TestBytesBesideBody checks that a server that sends much more over TLS than its answer loses its
// connection, directly and through a proxy. Changes of keys count like the small records of this
// server.
func TestBytesBesideBody(t *testing.T) {
	proxy, _ := tunnels(t)
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	const tooMuch = "it sends more than 64 KiB beside its answer"
	header := func(bytes int) string {
		return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + strings.Repeat("x", bytes) + "\r\n\r\n"
	}
	body := func(bytes int) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s",
			bytes, strings.Repeat("x", bytes))
	}
	oneChunk := func(bytes int) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
			bytes, strings.Repeat("x", bytes))
	}
	for name, tt := range map[string]struct {
		answer string
		size   int
		want   string
	}{
		"one large chunk":            {oneChunk(4 << 20), 16 << 10, ""},
		"a small answer":             {body(2000), 1, ""}, // 10 of them exceed the bound
		"a large header":             {header(30 << 10), 1 << 10, ""},
		"a large body":               {body(4 << 20), 16 << 10, ""},
		"a large body, small writes": {body(4 << 20), 250, ""},
		"a header, byte by byte":     {header(4000), 1, tooMuch},
		"a body, byte by byte":       {body(5000), 1, tooMuch},
		"a large body, tiny writes":  {body(4 << 20), 100, tooMuch},
	} {
		s := answerInPieces(t, tt.answer, tt.size)
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate()) // which is also that of the proxy
		for _, by := range []func(*http.Request) (*url.URL, error){
			func(*http.Request) (*url.URL, error) { return nil, nil }, http.ProxyURL(address),
		} {
			n := &Network{
				Rules: Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
				Dials: &fair.Room{Capacity: 4}, Roots: roots, Proxy: by,
				Named: func(string) bool { return true },
			}
			transport := n.transportWith(tlsSettings{roots: roots})
			for range 10 {
				if got := reasonOfBody(t, transport, s.URL); got != tt.want {
					t.Errorf("%s: %q, want %q", name, got, tt.want)
					break
				}
			}
			transport.CloseIdleConnections()
		}
	}
}

// reasonOfBody returns why a GET request or its body failed, or "".
func reasonOfBody(t *testing.T, transport http.RoundTripper, address string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, _, err := Do(transport, r, Caller{})
	if err == nil {
		// As for a manifest: net/http may read as much of a chunk at once.
		_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, make([]byte, 4<<20))
		_ = resp.Body.Close()
	}
	if err == nil {
		return ""
	}
	return Explain(err).Reason
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
