// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

// connKey is the key of a request's connection in its context.
type connKey struct{}

// connOf returns the connection of a request, or nil if no Listener has accepted it.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// Began returns when the first byte of a request came.
func Began(r *http.Request) time.Time {
	if c := connOf(r); c != nil {
		return c.began()
	}
	return time.Now()
}

// WhenLost calls do if the connection of a request loses its place to another one. The context of
// the request may not end then: net/http looks for the end of a connection only after the whole
// body has come. do must be fast, may be called twice, and may be called after the request has
// ended.
func WhenLost(r *http.Request, do func()) {
	if c := connOf(r); c != nil {
		c.whenLost(do)
	}
}

// Server returns a server for the listener's connections. Only it may serve them.
func (l *Listener) Server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           wrap(handler),
		MaxHeaderBytes:    maxHeaderBytes,
		ReadHeaderTimeout: HeaderTime,
		ReadTimeout:       l.port.Bounds.ReadTime,
		WriteTimeout:      l.port.Bounds.WriteTime,
		IdleTimeout:       l.port.Bounds.IdleTime,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
		ConnState: func(c net.Conn, state http.ConnState) {
			if c, ok := c.(*conn); ok && state == http.StateIdle {
				c.idle()
			}
		},
	}
}

// wrap returns a handler that marks the connection as busy, and closes an expired one after its
// answer. It also counts the fields of the header, because conn doesn't count the lines of a header
// that it read together with the request before. An API server never sends such a header: it waits
// for an answer before it sends the next request.
func wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header) > maxHeaderLines {
			w.Header().Set("Connection", "close")
			http.Error(w, "too many header lines", http.StatusRequestHeaderFieldsTooLarge)
			return
		}
		// This is the deadline for reading the body. Without it, net/http would read the rest of the
		// body after the answer without a deadline. The handler of reviews sets another one.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(HeaderTime))
		c := connOf(r)
		c.since.Store(c.listener.now())
		c.busy.Store(true)
		if r.Body != http.NoBody {
			r.Body = &body{ReadCloser: r.Body, conn: c, request: r}
		}
		if c.expired() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// body is the body of a request.
type body struct {
	io.ReadCloser

	conn    *conn
	request *http.Request
}

// Read marks the connection as waiting for its peer until something comes.
func (b *body) Read(p []byte) (int, error) {
	b.conn.busy.Store(false)
	defer b.conn.busy.Store(true)
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.request.Trailer = nil // nobody reads the trailer of a chunked body
	}
	return n, err
}
