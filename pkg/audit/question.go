// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// errLate is the error of a question that was not asked before Auditor.Until.
var errLate = failure.Errorf(failure.Unavailable, "not looked up in time")

// question is about one image. The first answer is for all namespaces. As long as there is none,
// each namespace asks with its own credentials, and a failure is only for the namespace itself and
// those with the same credentials.
type question struct {
	image ref.Reference
	// Whether a tag that has moved names the same manifests is asked with the digest that runs, and
	// with old, which is the image of that digest. It is zero if it can't be asked for.
	runs digest.Digest
	old  ref.Reference

	asking sync.Mutex // held while a namespace asks, but not while it waits to ask again

	mu      sync.Mutex
	counted bool // as done
	known   bool // found is the answer
	found   answer
	failed  []failed // by namespace
	past    []past   // by the credentials
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
	for _, f := range q.failed {
		if f.namespace == namespace {
			return answer{}, f.err
		}
	}
	return answer{}, errLate
}

// answered reports whether the question need not be asked again for a namespace.
func (q *question) answered(namespace string) bool {
	_, err := q.answer(namespace)
	return err != errLate //nolint:errorlint // it is the very value
}

// finish stores the answer, or the error for a namespace. It reports whether that is the first
// time.
func (q *question) finish(namespace string, found answer, err error) (first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	first, q.counted = !q.counted, true
	if err == nil {
		q.found, q.known = found, true
		return first
	}
	q.failed = append(q.failed, failed{namespace, compact(err, failure.Cause(err))})
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

// try asks a question with the credentials of each identity of a namespace until one of them may
// pull the image. An answer that there is no such image counts more than a refusal.
func (l *lookups) try(ctx context.Context, j *job) {
	var failed error
	for i, id := range j.identities {
		req := resolve.Request{Ref: j.image, Namespace: j.namespace, Fresh: true}
		var keys *usedKeys
		if l.Keychain != nil {
			keys = &usedKeys{next: l.Keychain(j.namespace, id)}
			req.Keychain = keys
		}
		found, err := l.ask(ctx, j, req, keys)
		if err == nil {
			l.finish(j, found, nil)
			return
		}
		if ctx.Err() != nil {
			return
		}
		class := failure.Of(err)
		if i == 0 || class != failure.Unauthorized {
			failed = err
		}
		if class != failure.Unauthorized && class != failure.NotFound {
			break
		}
	}
	l.finish(j, answer{}, failed)
}

// finish stores the answer of a job, and counts it.
func (l *lookups) finish(j *job, found answer, err error) {
	if j.finish(j.namespace, found, err) {
		l.progress(1, 0)
	}
}

// ask asks a question, unless it was asked with the same credentials before. The caller holds
// j.asking, which is free while Repeat waits: others may get an answer with their credentials.
func (l *lookups) ask(
	ctx context.Context, j *job, req resolve.Request, keys *usedKeys,
) (found answer, err error) {
	if len(j.past) > 0 {
		l.readKeys(ctx, req)
		sum := keys.sum()
		for _, p := range j.past {
			if p.credentials == sum {
				return answer{}, p.err
			}
		}
	}
	once := func() error {
		found, err = l.inTime(ctx, j, req)
		return err
	}
	if l.Repeat == nil {
		err = once()
	} else {
		j.asking.Unlock()
		err = l.Repeat(ctx, func() error {
			j.asking.Lock()
			defer j.asking.Unlock()
			if found, err = j.answer(j.namespace); err == nil {
				return nil
			}
			return once()
		})
		j.asking.Lock()
	}
	if err == nil || ctx.Err() != nil || errors.Is(err, registry.ErrOfNamespace) {
		return found, err
	}
	l.readKeys(ctx, req)
	// The cause may name the pull secrets of this namespace.
	j.past = append(j.past, past{keys.sum(), compact(err, err.Error())})
	return found, err
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
