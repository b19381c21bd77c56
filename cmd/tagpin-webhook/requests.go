// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
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

// tend notes when a request has come whole, and closes connections that have grown old after their
// answer.
func (l *listener) tend(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := connOf(r); c != nil {
			c.await(r)
			if c.old() {
				w.Header().Set("Connection", "close")
			}
		}
		next.ServeHTTP(w, r)
	})
}

// await sets c.busy when the whole request has come.
func (c *conn) await(r *http.Request) {
	if r.Body == http.NoBody {
		c.busy.Store(true)
		return
	}
	r.Body = &body{ReadCloser: r.Body, conn: c}
}

// body is that of a request.
type body struct {
	io.ReadCloser

	conn *conn
}

// Read notes the end of the body.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.conn.busy.Store(true)
	}
	return n, err
}
