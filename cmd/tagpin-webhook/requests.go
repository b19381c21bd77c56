// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

// connKey is the key of a request's connection in its context.
type connKey struct{}

// connOf is the connection that a request came by. Nil: it came by none of a listener.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// began returns when the first byte of a request came.
func began(r *http.Request) time.Time {
	if c := connOf(r); c != nil {
		return c.began()
	}
	return time.Now()
}

// server is an http.Server for the listener's connections.
func (l *listener) server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           l.tend(handler),
		MaxHeaderBytes:    maxHeaderBytes,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       l.readTime,
		WriteTimeout:      l.writeTime,
		IdleTimeout:       l.idleTime,
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

// tend notes when a request is being answered, and closes connections that have grown old after their
// answer. It refuses a header that came in the same read as the request before, and so was not counted
// by conn: no API server sends a request before it has the answer to the one before.
func (l *listener) tend(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header) > maxHeaderLines {
			w.Header().Set("Connection", "close")
			http.Error(w, "too many header lines", http.StatusRequestHeaderFieldsTooLarge)
			return
		}
		// The handler of reviews sets its own. net/http reads what is left of a body after an answer, and
		// has no deadline for that.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(headerTime))
		if c := connOf(r); c != nil {
			c.await(r)
			if c.old() {
				w.Header().Set("Connection", "close")
			}
		}
		next.ServeHTTP(w, r)
	})
}

// await keeps c.busy, which is true but for the time in which the body is awaited.
func (c *conn) await(r *http.Request) {
	c.since.Store(c.listener.now())
	c.busy.Store(true)
	if r.Body != http.NoBody {
		r.Body = &body{ReadCloser: r.Body, conn: c, request: r}
	}
}

// body is that of a request.
type body struct {
	io.ReadCloser

	conn    *conn
	request *http.Request
}

// Read lets the connection count as one that waits for its peer until something comes.
func (b *body) Read(p []byte) (int, error) {
	b.conn.busy.Store(false)
	defer b.conn.busy.Store(true)
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.request.Trailer = nil // of a body in chunks: nobody reads it
	}
	return n, err
}
