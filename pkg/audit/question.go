// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
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

	asking  sync.Mutex // held by the namespace that asks
	counted func()     // counts the question once

	mu     sync.Mutex
	found  *answer
	failed map[string]error            // by namespace
	past   map[[sha256.Size]byte]error // by the hash of the credentials
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
	switch err := q.failed[namespace]; {
	case q.found != nil:
		return *q.found, nil
	case err != nil:
		return answer{}, err
	}
	return answer{}, errLate
}

// answered reports whether the question need not be asked again for a namespace.
func (q *question) answered(namespace string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.found != nil || q.failed[namespace] != nil
}

// finish stores the answer, or the error for a namespace.
func (q *question) finish(namespace string, found answer, err error) {
	q.counted()
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil {
		q.found = &found
		return
	}
	if q.failed == nil {
		q.failed = map[string]error{}
	}
	q.failed[namespace] = err
}

// try asks a question with the credentials of each identity of a namespace until one of them may
// pull the image. An answer that there is no such image counts more than a refusal.
func (l *lookups) try(ctx context.Context, j *job) {
	var failed error
	for i, id := range j.identities {
		req := resolve.Request{Ref: j.image, Namespace: j.namespace, Fresh: true}
		if l.Keychain != nil {
			req.Keychain = l.Keychain(j.namespace, id)
		}
		found, err := l.once(ctx, j, req)
		if err == nil {
			j.finish(j.namespace, found, nil)
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
	j.finish(j.namespace, answer{}, failed)
}

// once asks once, within the time for a lookup, unless it was asked with the same credentials
// before. The caller holds j.asking.
func (l *lookups) once(ctx context.Context, j *job, req resolve.Request) (answer, error) {
	if len(j.past) > 0 {
		if err := j.past[hash(ctx, req)]; err != nil {
			return answer{}, err
		}
	}
	inTime, cancel := context.WithTimeout(ctx, l.timeout())
	defer cancel()
	found, err := j.ask(inTime, j.question, req)
	if err == nil || ctx.Err() != nil || errors.Is(err, registry.ErrOfNamespace) {
		return found, err
	}
	if j.past == nil {
		j.past = map[[sha256.Size]byte]error{}
	}
	// The cause may name the pull secrets of this namespace.
	j.past[hash(ctx, req)] = failure.New(failure.Of(err), errors.New(err.Error()))
	return found, err
}

// hash returns a hash of the credentials of a request.
func hash(ctx context.Context, req resolve.Request) [sha256.Size]byte {
	var all []keychain.Credential
	if req.Keychain != nil {
		all = req.Keychain.Credentials(ctx, req.Ref, false)
	}
	h := sha256.New()
	for _, c := range all {
		_, _ = fmt.Fprintf(h, "%#v\n", c) // never fails
	}
	return [sha256.Size]byte(h.Sum(nil))
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
