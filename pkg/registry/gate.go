// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tagpin/tagpin/pkg/cache"
)

const (
	// maxRetryAfter caps what a registry may ask to wait.
	maxRetryAfter = 10 * time.Minute
	// maxOutage caps it where all wait because some repositories of a registry are out of service,
	// or limit their requests.
	maxOutage = time.Minute
)

// backoff is how long a gate stays closed where the registry does not say: at first, and at most after it doubled with
// each failure in a row.
type backoff struct{ first, most time.Duration }

var (
	unreachable = backoff{time.Second, 30 * time.Second}
	limited     = backoff{5 * time.Second, time.Minute}
	// refusedLogin is for a user name and password that were not accepted: some registries lock the user out after a few.
	refusedLogin = backoff{30 * time.Second, 10 * time.Minute}
	// manyRefused does not grow: one of the credentials may have been renewed, and the others are shown
	// before it each time.
	manyRefused = backoff{30 * time.Second, 30 * time.Second}
)

// gateKey is what a gate closes: a registry for all, for one credential, for one credential in one
// namespace, for all logins of one namespace, or for one credential in one repository.
type gateKey struct {
	host, path string
	all        bool
	who        identity
	limits     bool
	namespace  string
	logins     bool
}

// gates are closed after an answer that says that the next request will fail too. When its time is over, one request
// tries again, and others wait for what comes of it.
type gates struct {
	mu       sync.Mutex
	all      cache.Memory[gateKey, *gate]
	failures cache.Memory[gateKey, owned[[]string]] // see enough
}

// threshold is how many different repositories, or logins, must fail before a gate is closed that
// concerns more than one of them. A failure counts for as long as forgetting says.
type threshold struct {
	count      int
	forgetting time.Duration
	// anew: a gate that was closed before needs as many failures again.
	anew bool
}

var (
	// wrongLogin: a refusal by one repository may be about that repository. Perhaps its name is wrong.
	wrongLogin = threshold{count: 3, forgetting: maxRetryAfter}
	// wrongLogins: a look-up tries at most 16 credentials (keychain.MaxCandidates), of which all but
	// the last may be out of date.
	wrongLogins = threshold{count: 16, forgetting: maxRetryAfter, anew: true}
	// outage: behind a host that routes by path, one repository may have a server of its own, which
	// says nothing about the others.
	outage = threshold{count: 3, forgetting: maxOutage}
	// tooMany is for requests that are limited without a credential, or with one that namespaces
	// share: the server of one repository may say so too.
	tooMany = threshold{count: 3, forgetting: maxOutage}
)

// gate is closed, or has been and nobody has got through since.
type gate struct {
	key      gateKey
	owner    string // the namespace that met it; empty where several have
	until    time.Time
	failures int           // in a row
	cause    *Error        // why it is closed
	trying   chan struct{} // closed when the request that tries again has ended; nil: none is under way
}

func newGates() *gates {
	g := &gates{}
	g.all.Size, g.all.Owner = maxGates, func(_ gateKey, g *gate) string { return g.owner }
	g.failures.Size, g.failures.Owner = maxGates, ownerOf[gateKey, []string]
	return g
}

// enough notes that a repository or a login, by its name, has failed, and reports whether that is
// enough to close the gate of key: as many as t says have failed without a success in between, or
// the gate was closed for the same kind of cause before and nobody has got through since.
func (g *gates) enough(key gateKey, t threshold, name, namespace string, cause *Error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if closed, ok := g.all.Get(key); ok && !t.anew && closed.cause.like(cause) {
		return true
	}
	count := 0
	add := func(known owned[[]string], ok bool) (owned[[]string], bool) {
		names := known.value
		if len(names) < t.count && !slices.Contains(names, name) {
			names = append(slices.Clip(names), name)
		}
		count = len(names)
		return owned[[]string]{names, ownerAfter(known.owner, ok, namespace)}, true
	}
	g.failures.Update(key, t.forgetting, add)
	return count >= t.count
}

// forgive forgets one failure that was noted for key.
func (g *gates) forgive(key gateKey, name string) {
	g.failures.Update(key, maxRetryAfter, func(known owned[[]string], ok bool) (owned[[]string], bool) {
		names := slices.DeleteFunc(slices.Clone(known.value), func(n string) bool { return n == name })
		return owned[[]string]{names, known.owner}, ok && len(names) > 0
	})
}

// succeeded forgets the failures that were noted for key.
func (g *gates) succeeded(key gateKey) { g.failures.Remove(key) }

// wait waits until nobody tries a gate, and calls before if it has to. Its error is that of a gate that
// is closed, or of ctx.
func (g *gates) wait(ctx context.Context, keys []gateKey, before func()) error {
	for {
		trying, err := g.look(keys)
		if trying == nil {
			return err
		}
		before()
		select {
		case <-trying:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look returns the first try that there is to wait for, or the error of a gate that is closed.
func (g *gates) look(keys []gateKey) (trying chan struct{}, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range keys {
		switch gate, ok := g.all.Get(key); {
		case !ok:
		case time.Now().Before(gate.until):
			return nil, gate.refusal()
		case gate.trying != nil:
			return gate.trying, nil
		}
	}
	return nil, nil
}

// take makes the caller the one that tries the gates that were closed before. It takes all or none: its
// error is errTrying, or that of a gate that is closed. done must be called for what is held.
func (g *gates) take(keys []gateKey) (held []*gate, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range keys {
		switch gate, ok := g.all.Get(key); {
		case !ok:
		case time.Now().Before(gate.until):
			return nil, gate.refusal()
		case gate.trying != nil:
			return nil, errTrying
		default:
			held = append(held, gate)
		}
	}
	for _, gate := range held {
		gate.trying = make(chan struct{})
	}
	return held, nil
}

// done lets others try. Where an answer has come, the gates are open that were not closed again.
func (g *gates) done(held []*gate, answered bool) {
	if len(held) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, gate := range held {
		gate.tried()
		if now, ok := g.all.Get(gate.key); ok && now == gate && answered && !time.Now().Before(gate.until) {
			g.all.Remove(gate.key)
		}
	}
}

func (g *gate) tried() {
	if g.trying != nil {
		close(g.trying)
		g.trying = nil
	}
}

// close closes a gate for as long as cause asks, else by back-off. Failures of requests that were sent side by side count
// once.
func (g *gates) close(key gateKey, namespace string, cause *Error, b backoff) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	closed, ok := g.all.Get(key)
	if !ok {
		closed = &gate{key: key}
	}
	closed.owner = ownerAfter(closed.owner, ok, namespace)
	g.all.Put(key, closed, 0)
	if !now.Before(closed.until) {
		closed.failures++
	}
	wait := cause.RetryAfter
	if wait <= 0 {
		wait = min(b.first<<min(closed.failures-1, 16), b.most)
	}
	closed.cause = cause
	if until := now.Add(min(wait, maxRetryAfter)); until.After(closed.until) {
		closed.until = until
	}
}

// refusal is the error of who finds the gate closed: the one that closed it, so that it is in its class.
func (g *gate) refusal() error {
	e := *g.cause
	e.RetryAfter = time.Until(g.until)
	e.remembered, e.ofNamespace = true, g.key.namespace != ""
	return &e
}

// retryAfter reads the header, in seconds or as a date (RFC 9110, section 10.2.3); 0 where it says nothing.
func retryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) { // then it is the greatest number there is
		return time.Duration(min(max(0, seconds), int64(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, time.Until(at)), maxRetryAfter)
	}
	return 0
}
