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
// request tries, and the others wait for what comes of it. If nothing comes of it, because its
// caller leaves or it has to wait for something else, the next request tries. Which answer closes
// which gate, and for whom, is decided by lookup.judge.
type gates struct {
	mu       sync.Mutex
	all      memory[gateKey, *gate] // those that are not open
	refusals memory[gateKey, []refusedName]
}

// gateKind says what a gate stops.
type gateKind int

const (
	ofServer        gateKind = iota // all requests to the server, to which no connection can be made
	ofPart                          // below the first part of a path, which is out of service
	ofCredential                    // with one credential there, whose requests are limited
	ofOwnCredential                 // with one credential of one namespace, whose requests are limited
	ofLogin                         // with one credential of one namespace, whose login was refused
	ofNamespace                     // with any credential of one namespace, after many refused logins
	ofRepository                    // with one credential, in one repository
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

const (
	// maxRetryAfter bounds how long a gate stays closed if the registry says for how long.
	maxRetryAfter = 10 * time.Minute
	// maxOutage is the same bound for a 503, with which a registry can only guess when it will be
	// back. All lookups below the first part of a path fail until it is asked again, and one request
	// in half a minute harms no registry. A limit of requests is different: asking earlier may extend
	// it.
	maxOutage = 30 * time.Second
	// maxNamed bounds the time that an error names.
	maxNamed = 365 * 24 * time.Hour
)

// refusedName is a repository that has refused a login, or a login that was refused.
type refusedName struct {
	name string
	at   time.Time
}

func newGates() *gates {
	g := &gates{}
	g.all.init(maxGates)
	g.refusals.init(maxGates)
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

// reopen opens gates whose time is over and that no request tries, since an answer shows that they
// need not be closed.
func (g *gates) reopen(keys []gateKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range keys {
		closed, ok := g.all.Get(key)
		if ok && closed.trying == nil && !time.Now().Before(closed.until) {
			g.all.Remove(key)
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
	wait := cause.wait()
	if wait <= 0 {
		wait = min(b.first<<min(closed.failures-1, 16), b.most)
	}
	closed.cause = cause.kept()
	if until := now.Add(wait); until.After(closed.until) {
		closed.until = until
	}
}

// has reports whether a gate is not open.
func (g *gates) has(key gateKey) bool {
	_, ok := g.all.Get(key)
	return ok
}

// refuse records that a login was refused, and reports whether there are enough refusals of
// different names to close a gate. Each one counts for maxRetryAfter.
func (g *gates) refuse(key gateKey, enough int, name, namespace string) bool {
	count := 0
	g.refusals.Update(key.kept(), namespace, maxRetryAfter, func(known []refusedName) []refusedName {
		left := without(known, name)
		left = append(left[max(0, len(left)+1-enough):], refusedName{strings.Clone(name), time.Now()})
		count = len(left)
		return left
	})
	return count >= enough
}

// accept forgets the refusal of one name.
func (g *gates) accept(key gateKey, name string) {
	g.refusals.Memory.Update(key, maxRetryAfter,
		func(known owned[[]refusedName], _ bool) (owned[[]refusedName], bool) {
			left := without(known.value, name)
			return owned[[]refusedName]{left, known.owner}, len(left) > 0
		})
}

// without returns a copy without the refusal of a name and without those that no longer count.
func without(known []refusedName, name string) []refusedName {
	return slices.DeleteFunc(slices.Clone(known), func(r refusedName) bool {
		return r.name == name || time.Since(r.at) >= maxRetryAfter
	})
}

// refusal returns the error of a request that the gate stops. It is the one that has closed it, so
// that it has the same class.
func (g *gate) refusal() error {
	e := *g.cause
	e.asked = e.named()
	e.retryAfter = time.Until(g.until)
	e.remembered, e.ofNamespace = true, g.key.namespace != ""
	return &e
}

// minUnixTime is the smallest number in Retry-After that is taken for a Unix time instead of
// seconds, as Docker Hub sends it (docker/hub-feedback#2459). It is in the year 2001.
const minUnixTime = 1e9

// parseRetryAfter reads the header, in seconds or as a date (RFC 9110, section 10.2.3), or as a
// Unix time. It is 0 if there is none, and at most maxNamed.
func parseRetryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err == nil && seconds >= minUnixTime {
		return min(max(0, time.Until(time.Unix(seconds, 0))), maxNamed)
	}
	if err == nil || errors.Is(err, strconv.ErrRange) { // then it is the greatest number there is
		return time.Duration(min(max(0, seconds), int64(maxNamed/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, time.Until(at)), maxNamed)
	}
	return 0
}
