// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// errLate is the error of a question that was not asked before Auditor.Until.
var errLate = failure.Errorf(failure.Unavailable, "not looked up in time")

// question is about one image. The first answer is for all namespaces. As long as there is none,
// each namespace asks with its own credentials, and a failure is only for the namespace itself and
// those with the same credentials.
type question struct {
	image ref.Reference
	// missing may have what a namespace did not find in the last report. It may be nil.
	missing *LastMissing
	// Whether a tag that has moved names the same manifests is asked with the digest that runs, and
	// with old, which is the image of that digest. It is zero if it can't be asked for.
	runs digest.Digest
	old  ref.Reference

	// lookups.mu guards these.
	jobs    []*job // of each namespace that asks
	asking  bool   // a namespace asks, and does not wait to ask again
	blocked []*job // those that are ready when it no longer asks

	// past has the failures by their credentials. It needs no lock, since only one goroutine asks a
	// question at a time.
	past []past

	mu       sync.Mutex // guards the fields below
	counted  bool       // as done
	known    bool       // found is the answer
	found    answer
	failures []failed // by namespace
}

// failed is why a question has no answer for a namespace.
type failed struct {
	namespace string
	err       error
}

// past is why a question has no answer for the credentials with this hash.
type past struct {
	credentials [sha256.Size]byte
	err         error
}

// answer is the answer to a question.
type answer struct {
	digest digest.Digest // that a tag names
	same   bool          // whether it names the same manifests
}

// questions are questions of one kind.
type questions struct {
	mu     sync.Mutex
	byName map[string]*question
}

// add adds a question, unless there is one of this name.
func (q *questions) add(name string, one *question) (known *question, isNew bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if known := q.byName[name]; known != nil {
		return known, false
	}
	if q.byName == nil {
		q.byName = map[string]*question{}
	}
	q.byName[name] = one
	return one, true
}

// answer returns the answer for a namespace.
func (q *question) answer(namespace string) (answer, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.known {
		return q.found, nil
	}
	for _, f := range q.failures {
		if f.namespace == namespace {
			return answer{}, q.missing.keep(namespace, q.image, f.err)
		}
	}
	return answer{}, q.missing.keep(namespace, q.image, errLate)
}

// isKnown reports whether there is an answer, which is for all namespaces.
func (q *question) isKnown() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.known
}

// settle stores the answer, or the error for a namespace. It reports whether that is the first
// time.
func (q *question) settle(namespace string, found answer, err error) (first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	first, q.counted = !q.counted, true
	if err == nil {
		q.found, q.known = found, true
		return first
	}
	q.failures = slices.DeleteFunc(q.failures, func(f failed) bool { return f.namespace == namespace })
	q.failures = append(q.failures, failed{namespace, compact(err, failure.Cause(err))})
	return first
}

// compact returns an error with the same class and text, and with this cause. It holds nothing
// else, because there may be very many.
func compact(err error, cause string) error {
	text := err.Error()
	plain := failure.New(failure.Of(err), errors.New(text))
	if cause == text {
		return plain
	}
	return failure.WithCause(plain, cause)
}

// try asks a job's question with its present identity, unless it was asked with the same
// credentials before. If it is to be asked again, wait says when.
func (l *lookups) try(j *job) (found answer, wait time.Duration, err error) {
	req := resolve.Request{Ref: j.question.image, Namespace: j.namespace, Fresh: true}
	var keys *usedKeys
	if l.Keychain != nil {
		keys = &usedKeys{next: l.Keychain(j.namespace, l.identity(j))}
		req.Keychain = keys
	}
	if len(j.question.past) > 0 {
		l.readKeys(l.ctx, req)
		sum := keys.sum()
		for _, p := range j.question.past {
			if p.credentials == sum {
				return answer{}, 0, p.err
			}
		}
	}
	found, err = l.inTime(l.ctx, j, req)
	if err != nil && l.Wait != nil && l.ctx.Err() == nil {
		wait, err = l.Wait(l.ctx, err, &j.guesses)
	}
	if err == nil || wait > 0 || l.ctx.Err() != nil || errors.Is(err, registry.ErrOfNamespace) ||
		errors.Is(err, registry.ErrNoAnswer) { // these say nothing to others with such credentials
		return found, wait, err
	}
	l.readKeys(l.ctx, req)
	// The cause may name the pull secrets of this namespace.
	j.question.past = append(j.question.past, past{keys.sum(), compact(err, err.Error())})
	return found, 0, err
}

// identity returns the present identity of a job.
func (l *lookups) identity(j *job) workload.Identity {
	l.mu.Lock()
	defer l.mu.Unlock()
	return j.identities[j.tried]
}

// inTime asks once, when it is the turn of the namespace, within the time for a lookup.
func (l *lookups) inTime(
	ctx context.Context, j *job, req resolve.Request,
) (answer, error) {
	leave, err := l.queue.Enter(ctx, j.namespace, 1)
	if err != nil {
		return answer{}, errLate
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, l.timeout())
	defer cancel()
	return j.ask(ctx, j.question, req)
}

// readKeys reads the credentials that a request may use: those for the registry and its mirrors.
func (l *lookups) readKeys(ctx context.Context, req resolve.Request) {
	if req.Keychain == nil {
		return
	}
	req.Keychain.Credentials(ctx, req.Ref, false)
	for _, mirror := range l.Images.Client.Host(req.Ref.Host()).Mirrors {
		if there, _, err := l.Images.Client.AtMirror(mirror, req.Ref); err == nil {
			req.Keychain.Credentials(ctx, there, false)
		}
	}
}

// askFunc asks for the answer to a question.
type askFunc func(ctx context.Context, q *question, req resolve.Request) (answer, error)

// askTag asks for the digest that a tag names.
func (a *Auditor) askTag(
	ctx context.Context, _ *question, req resolve.Request,
) (answer, error) {
	found, err := a.Images.Resolve(ctx, req)
	return answer{digest: found.Digest}, err
}

// askServed asks whether a digest is served.
func (a *Auditor) askServed(
	ctx context.Context, _ *question, req resolve.Request,
) (answer, error) {
	return answer{}, a.Images.Served(ctx, req)
}

// askMove asks whether each manifest that runs is one of those that the tag names now.
func (a *Auditor) askMove(
	ctx context.Context, q *question, req resolve.Request,
) (answer, error) {
	now, err := a.manifests(ctx, req)
	if err != nil {
		return answer{}, err
	}
	if now.has(manifests{q.runs: {}}) || q.old.IsZero() {
		return answer{same: now.has(manifests{q.runs: {}})}, nil
	}
	req.Ref = q.old
	old, err := a.manifests(ctx, req)
	return answer{same: now.has(old)}, err
}

// manifests asks for the manifests that a digest stands for.
func (a *Auditor) manifests(ctx context.Context, req resolve.Request) (manifests, error) {
	m, err := a.Images.Manifest(ctx, req)
	if err != nil {
		return nil, err
	}
	defer m.Release()
	return manifestsOf(req.Ref.Host(), req.Ref.Digest(), m)
}
