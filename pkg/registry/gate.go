// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tagpin/tagpin/pkg/registry/auth"
)

// gates say when a registry is not asked. A gate is closed after an answer that says that the next
// request will fail too:
//
//	       such an answer           its time is over
//	open ─────────────────▶ closed ──────────────────▶ being tried
//	  ▲                       ▲                          │     │
//	  │                       └──────────────────────────┘     │
//	  │                         such an answer again           │
//	  └────────────────────────────────────────────────────────┘
//	                          any other answer
//
// While a gate is closed, requests fail with the error that closed it. When its time is over, one
// request tries, and the others wait for what comes of it. Which answer closes which gate, and for
// whom, is decided by lookup.judge.
type gates struct {
	mu       sync.Mutex
	all      memory[gateKey, *gate] // those that are not open
	failures memory[gateKey, []string]
}

// gateKind says what a gate stops.
type gateKind int

const (
	ofRegistry   gateKind = iota // all requests to the registry, which is out of service
	ofCredential                 // with one credential, whose requests the registry limits
	ofLogin                      // with one credential of one namespace, whose login was refused
	ofNamespace                  // with any credential of one namespace, after many refused logins
	ofRepository                 // with one credential, in one repository
)

// gateKey identifies a gate. The fields that its kind does not need are empty.
type gateKey struct {
	kind            gateKind
	origin          string
	path, namespace string
	identity        auth.Identity
}

// kept returns the key with texts of its own, since those of a lookup are parts of a whole review.
func (k gateKey) kept() gateKey {
	k.path, k.namespace = strings.Clone(k.path), strings.Clone(k.namespace)
	k.origin = strings.Clone(k.origin)
	return k
}

// gate is one that is not open.
type gate struct {
	key      gateKey
	until    time.Time
	failures int           // in a row
	cause    *requestError // why it is closed
	trying   chan struct{} // closed when the request that tries it has ended; nil if there is none
}

// backoff is how long a gate stays closed if the registry does not say: first, then twice as long
// after each failure in a row, and most at the end.
type backoff struct{ first, most time.Duration }

// maxRetryAfter bounds how long a registry may ask to wait.
const maxRetryAfter = 10 * time.Minute

// threshold says how many different repositories or credentials must fail before a gate is closed
// that concerns more than one of them. A failure counts for as long as forget says.
type threshold struct {
	count  int
	forget time.Duration
	// again is true if a gate that was closed before needs as many failures again.
	again bool
}

func newGates() *gates {
	g := &gates{}
	g.all.init(maxGates)
	g.failures.init(maxGates)
	return g
}

// pass checks the gates of a request. err is not nil if a gate is closed. trying is not nil if
// another request is trying one; wait until it is closed, and call pass again. If take is true and
// both are nil, the caller must send its request and then call done with taken, the gates that it
// tries.
func (g *gates) pass(keys []gateKey, take bool) (taken []*gate, trying <-chan struct{}, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range keys {
		switch gate, ok := g.all.Get(key); {
		case !ok:
		case time.Now().Before(gate.until):
			return nil, nil, gate.refusal()
		case gate.trying != nil:
			return nil, gate.trying, nil
		case take:
			taken = append(taken, gate)
		}
	}
	for _, gate := range taken {
		gate.trying = make(chan struct{})
	}
	return taken, nil, nil
}

// done lets other requests pass or try. If an answer has come, it opens those gates that the answer
// has not closed again.
func (g *gates) done(taken []*gate, answered bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, gate := range taken {
		close(gate.trying)
		gate.trying = nil
		now, ok := g.all.Get(gate.key)
		if ok && now == gate && answered && !time.Now().Before(gate.until) {
			g.all.Remove(gate.key)
		}
	}
}

// close closes a gate for as long as cause asks, else by b. Failures of requests at the same time
// count once.
func (g *gates) close(key gateKey, namespace string, cause *requestError, b backoff) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	closed, ok := g.all.Get(key)
	if !ok {
		closed = &gate{key: key.kept()}
	}
	g.all.Put(closed.key, closed, namespace, 0)
	if !now.Before(closed.until) {
		closed.failures++
	}
	wait := cause.retryAfter
	if wait <= 0 {
		wait = min(b.first<<min(closed.failures-1, 16), b.most)
	}
	closed.cause = cause.kept()
	if until := now.Add(min(wait, maxRetryAfter)); until.After(closed.until) {
		closed.until = until
	}
}

// fail records that a repository or a credential, by its name, has failed. It reports whether the
// gate is to be closed: as many as t says have failed without a success between them, or the gate
// was closed for the same kind of cause and no request has succeeded since.
func (g *gates) fail(
	key gateKey, t threshold, name, namespace string, cause *requestError,
) (enough bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if closed, ok := g.all.Get(key); ok && !t.again &&
		closed.cause.login == cause.login && closed.cause.evidence == cause.evidence {
		return true
	}
	count := 0
	key = key.kept()
	g.failures.Update(key, namespace, t.forget, func(names []string) []string {
		if len(names) < t.count && !slices.Contains(names, name) {
			names = append(slices.Clip(names), strings.Clone(name))
		}
		count = len(names)
		return names
	})
	return count >= t.count
}

// forgive forgets the failures that were recorded for a key.
func (g *gates) forgive(key gateKey) { g.failures.Remove(key) }

// forgiveOne forgets one of the failures.
func (g *gates) forgiveOne(key gateKey, name string) {
	g.failures.Memory.Update(key, maxRetryAfter,
		func(known owned[[]string], _ bool) (owned[[]string], bool) {
			left := slices.DeleteFunc(slices.Clone(known.value), func(n string) bool { return n == name })
			return owned[[]string]{left, known.owner}, len(left) > 0
		})
}

// refusal returns the error of a request that the gate stops. It is the one that has closed it, so
// that it has the same class.
func (g *gate) refusal() error {
	e := *g.cause
	e.retryAfter = time.Until(g.until)
	e.remembered, e.ofNamespace = true, g.key.namespace != ""
	return &e
}

// minUnixTime is the smallest number in Retry-After that is no number of seconds but a Unix time,
// as Docker Hub sends it (docker/hub-feedback#2459). It is in the year 2001.
const minUnixTime = 1e9

// retryAfter reads the header, in seconds or as a date (RFC 9110, section 10.2.3), or as a Unix
// time. It is 0 if there is none.
func retryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err == nil && seconds >= minUnixTime {
		return min(max(0, time.Until(time.Unix(seconds, 0))), maxRetryAfter)
	}
	if err == nil || errors.Is(err, strconv.ErrRange) { // then it is the greatest number there is
		return time.Duration(min(max(0, seconds), int64(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, time.Until(at)), maxRetryAfter)
	}
	return 0
}
