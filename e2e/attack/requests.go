// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
)

const (
	largeReviews = 100
	largeReview  = 3<<20 - 64<<10 // the API server takes 3 MiB
)

// LargeReviews creates a hundred pods of 3 MiB at once, which name a registry that hangs.
func LargeReviews() Attack {
	return Attack{"large-reviews", func(ctx context.Context, t *Tenant, _ *Victim) (Round, error) {
		h, err := t.Serve(ctx, hang)
		if err != nil {
			return nil, err
		}
		large := strings.Repeat("x", largeReview)
		return func(ctx context.Context) error {
			together(largeReviews, func(i int) {
				pod := newPod([]string{h.image(i)})
				pod.Spec.Containers[0].Args = []string{large}
				_, _ = t.deploy(ctx, pod)
			})
			return nil
		}, nil
	}}
}

const (
	slowConnections = 64
	headerBytes     = 1 << 20
	holdHeaders     = 5 * time.Second
)

// SlowHeaders opens many connections to each port of tagpin, sends a megabyte of tiny header lines
// on each, and holds them.
func SlowHeaders() Attack {
	return Attack{"endless-headers", func(_ context.Context, t *Tenant, _ *Victim) (Round, error) {
		lines := strings.Repeat("a:b\r\n", headerBytes/len("a:b\r\n"))
		return func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, holdHeaders)
			defer cancel()
			ports := t.place.Ports
			together(slowConnections*len(ports), func(i int) {
				t.hold(ctx, ports[i%len(ports)], lines)
			})
			return nil
		}, nil
	}}
}

// hold sends the beginning of a request to a port and holds the connection until ctx ends. That the
// other side refuses or ends it is its right.
func (t *Tenant) hold(ctx context.Context, port Port, lines string) {
	conn, err := t.place.Dial(ctx, "tcp", port.Address)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer conn.Close() //nolint:errcheck // it ends in the middle of a request
	var sent io.Writer = conn
	if port.TLS {
		config := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // it attacks whoever answers
		secured := tls.Client(conn, config)
		if secured.HandshakeContext(ctx) == nil {
			sent = secured
		}
	}
	if _, err := fmt.Fprintf(sent, "GET / HTTP/1.1\r\nHost: tagpin\r\n%s", lines); err != nil {
		return
	}
	<-ctx.Done()
}

// Siblings creates thousands of pods whose owners are made up, each of which would cost a list of
// pods.
func Siblings() Attack {
	return Attack{"made-up-owners", func(_ context.Context, t *Tenant, target *Victim) (Round, error) {
		image := target.images()[0]
		return func(ctx context.Context) error {
			const callers, each = 16, 32
			together(callers, func(int) {
				for range each {
					id := uuid.NewUUID()
					owner := Owner{UID: id, Revision: string(id)[:8]}
					_, _ = t.deploy(ctx, owned(newPod([]string{image}), owner))
				}
			})
			return nil
		}, nil
	}}
}
