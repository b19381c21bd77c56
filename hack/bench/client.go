// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// reviewPath is where all servers take reviews.
const reviewPath = "/enforce?timeout=10s"

// request is a review as an HTTP/1.1 request, the version in which API servers call webhooks
// (kubernetes#75791).
type request struct {
	text []byte
	uid  int // where the review's UID begins in text
}

// newRequest returns the request for a review.
func newRequest(host string, review []byte) request {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json, */*\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", reviewPath, host, len(review))
	text := append([]byte(head), review...)
	return request{text, bytes.Index(text, []byte(reviewUID))}
}

// caller calls a server over a connection that it keeps. It needs less processor time than
// net/http's client, so that the server rather than the load limits the rate.
type caller struct {
	address string
	config  *tls.Config

	conn *tls.Conn // nil before the first request and after the server has closed it
	in   *bufio.Reader
	out  []byte
	body bytes.Buffer
}

// call sends a request under a UID of its own, and checks the response: the object must be allowed,
// and there is a patch if and only if patch is true.
func (c *caller) call(ctx context.Context, r request, number int64, patch bool) error {
	uid := fmt.Appendf(nil, uidFormat, number)
	c.out = append(c.out[:0], r.text...)
	copy(c.out[r.uid:], uid)
	status, err := c.exchange(ctx)
	if err != nil {
		return err
	}
	return checkAnswer(status, c.body.Bytes(), uid, patch)
}

// exchange sends c.out and reads the response into c.body. If the server has closed a connection
// that was idle, exchange tries a new one.
func (c *caller) exchange(ctx context.Context) (status int, err error) {
	reused := c.conn != nil
	status, err = c.attempt(ctx)
	if err != nil && reused && ctx.Err() == nil {
		status, err = c.attempt(ctx)
	}
	return status, err
}

func (c *caller) attempt(ctx context.Context) (status int, err error) {
	if c.conn == nil {
		if err := c.dial(ctx); err != nil {
			return 0, err
		}
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if _, err := c.conn.Write(c.out); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, err
	}
	c.body.Reset()
	_, err = c.body.ReadFrom(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return 0, err
	}
	if resp.Close {
		c.close()
	}
	return resp.StatusCode, nil
}

func (c *caller) dial(ctx context.Context) error {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", c.address)
	if err != nil {
		return err
	}
	conn := tls.Client(raw, c.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return errors.Join(err, raw.Close())
	}
	c.conn, c.in = conn, bufio.NewReader(conn)
	return nil
}

// close closes the connection, if there is one.
func (c *caller) close() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing more is read
		c.conn = nil
	}
}

// checkAnswer returns an error unless the response is for the given UID, allows the object, and has
// a patch exactly if patch is true.
func checkAnswer(status int, body, uid []byte, patch bool) error {
	allowed := bytes.Contains(body, []byte(`"allowed":true`))
	patched := bytes.Contains(body, []byte(`"patch":`))
	if status != http.StatusOK || !allowed || patched != patch || !bytes.Contains(body, uid) {
		return fmt.Errorf("unexpected response: %d: %.300s", status, body)
	}
	return nil
}
