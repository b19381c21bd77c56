// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// The phases between SIGTERM and the end of the process. drainTime, shutdownTime and sendTime (the
// time for the last spans) together are less than the chart's terminationGracePeriodSeconds.
// reviewTime is a part of shutdownTime.
const (
	// drainTime is how long the server still serves. API servers that don't know yet that this
	// replica ends may send reviews to it.
	drainTime = 10 * time.Second
	// reviewTime is how long reviews under way may take after that. It is the longest timeoutSeconds
	// that the chart accepts, so no API server waits longer.
	reviewTime = 15 * time.Second
	// shutdownTime is how long the manager waits for its servers.
	shutdownTime = reviewTime + 500*time.Millisecond
)

// drain is the time in which a server that is shutting down still serves.
type drain struct {
	time     time.Duration
	draining atomic.Bool
}

// run runs start until it returns, or until the drain time after the end of ctx.
func (d *drain) run(ctx context.Context, start func(context.Context) error, log logr.Logger) error {
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	stop := context.AfterFunc(ctx, func() {
		log.Info("shutting down: no longer ready, still serving", "for", d.time.String())
		d.draining.Store(true)
		time.AfterFunc(d.time, end)
	})
	defer stop()
	return start(serving)
}

// wrap closes connections after an answer that is sent while the server drains, so that callers
// connect to another replica.
func (d *drain) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
