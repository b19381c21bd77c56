// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/time/rate"
)

const (
	// maxRetryAfter caps what a registry may ask to wait.
	maxRetryAfter = 10 * time.Minute
	// limited is how long a 429 or 503 without Retry-After closes a gate.
	limited = 5 * time.Second
	// unreachable is how long a failed connection closes a registry.
	unreachable = time.Second
)

// endpoint bounds the requests to one registry.
type endpoint struct {
	slots chan struct{}
	rate  *rate.Limiter
}

// gateKey is what a gate closes: a registry for one credential, or with none for all.
type gateKey struct {
	host string
	all  bool
	auth authn.AuthConfig
}

func (s *state) endpoint(h Host) *endpoint {
	if e, ok := s.hosts.Get(h.Name); ok {
		return e
	}
	e := &endpoint{
		slots: make(chan struct{}, h.MaxInFlight),
		rate:  rate.NewLimiter(rate.Limit(h.RequestsPerSecond), max(1, int(h.RequestsPerSecond))),
	}
	if before, ok, _ := s.hosts.PeekOrAdd(h.Name, e); ok {
		return before
	}
	return e
}

// enter waits for a place among the requests to the registry, within ctx. A closed gate answers at once.
func (l *lookup) enter(ctx context.Context) (release func(), err error) {
	for _, key := range []gateKey{{host: l.api, all: true}, {host: l.api, auth: l.auth}} {
		until, ok := l.state.gates.Get(key)
		if !ok {
			continue
		}
		if wait := time.Until(until); wait > 0 {
			return nil, &Error{Host: l.host.Name, RetryAfter: wait, Reason: "asked us to wait, or failed just now; to be asked again in " + round(wait)}
		}
		l.state.gates.Remove(key)
	}
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, l.overflow(ctx.Err())
	}
	if err := l.rate.Wait(ctx); err != nil {
		<-l.slots
		return nil, l.overflow(err)
	}
	return func() { <-l.slots }, nil
}

func (l *lookup) overflow(err error) error {
	return &Error{Host: l.host.Name, Reason: "no place among the requests to it within the time allowed", err: err}
}

func round(d time.Duration) string {
	return fmt.Sprintf("%ds", int((d+time.Second-1)/time.Second))
}

// punish closes the gate that an error asks for: 429 is the credential's, 503 and failed connections are the registry's.
func (l *lookup) punish(err error) {
	e := AsError(err)
	switch {
	case e == nil || e.Refused:
	case e.Status == http.StatusTooManyRequests:
		l.close(gateKey{host: l.api, auth: l.auth}, e.RetryAfter, limited)
	case e.Status == http.StatusServiceUnavailable:
		l.close(gateKey{host: l.api, all: true}, e.RetryAfter, limited)
	case e.Status == 0 && e.err != nil && !e.Token:
		l.close(gateKey{host: l.api, all: true}, 0, unreachable)
	}
}

func (l *lookup) close(key gateKey, asked, otherwise time.Duration) {
	if asked <= 0 {
		asked = otherwise
	}
	l.state.gates.Add(key, time.Now().Add(min(asked, maxRetryAfter)))
}

// retryAfter reads the header, in seconds or as a date (RFC 9110, section 10.2.3); 0 where it says nothing.
func retryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		return min(max(0, time.Duration(seconds)*time.Second), maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, time.Until(at)), maxRetryAfter)
	}
	return 0
}
