// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"
)

// The phases between SIGTERM and the end of the process. drainTime, shutdownTime and sendTime (the
// time for the last spans) together are less than the chart's terminationGracePeriodSeconds.
// reviewTime is a part of shutdownTime.
const (
	// drainTime is how long the server still serves. API servers that don't know yet that this
	// replica ends may send reviews to it.
	drainTime = 10 * time.Second
	// reviewTime is how long reviews under way may take after that. It is the longest timeoutSeconds
	// that the chart accepts. An API server that waits longer, up to the 30 seconds that Kubernetes
	// allows, sees the reviews fail that take longer at the end of a replica.
	reviewTime = 15 * time.Second
	// shutdownTime is how long the manager waits for its servers.
	shutdownTime = reviewTime + 500*time.Millisecond
)

// drain runs start until it returns, or until the drain time after the end of ctx.
func (s *server) drain(ctx context.Context, start func(context.Context) error) error {
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	stop := context.AfterFunc(ctx, func() {
		s.log.Info("shutting down: no longer ready, still serving", "for", s.drainTime.String())
		s.draining.Store(true)
		s.webhook.Expire() // so that callers connect to another replica
		time.AfterFunc(s.drainTime, end)
	})
	defer stop()
	return start(serving)
}
