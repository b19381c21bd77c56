// SPDX-License-Identifier: Apache-2.0

package sibling

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// errUnknown is the error for a text if it is not known whether a sibling runs it. It does not have
// the cause, which may contain addresses.
var errUnknown = fmt.Errorf(
	"%w: the API server did not say what the other pods of its revision run",
	failure.Unavailable)

// layer is the Resolver for one pod.
type layer struct {
	siblings *Siblings
	next     resolve.Resolver
	revision Revision
	texts    map[string][]string // of the pod, by canonical reference
	running  Running
	stored   bool // the digests of the pod will be stored
}

// Layer is the pin.Pinner's Layer that applies rule 7 (see package policy). For a new pod that a
// controller creates, it returns a Resolver that resolves a text to what the siblings run. It asks
// next only if no sibling runs the text. For any other object, it returns next.
//
// It is about a whole pod because one list is to find all of its texts: a list stops at the page on
// which it has found the last one, and a list that has ended before a call can't show that a pod is
// the first one.
func (s *Siblings) Layer(
	ctx context.Context, next resolve.Resolver, req pin.Request, lookups []ref.Reference,
) resolve.Resolver {
	if req.Operation != policy.Create || !req.Object.Kind.IsPod() {
		return next
	}
	r, ok := RevisionOf(req.Namespace, req.Object, s.RevisionLabels)
	if !ok {
		return next
	}
	l := &layer{
		siblings: s, next: next, revision: r, texts: map[string][]string{}, stored: req.Stored(),
	}
	texts := make([]string, len(lookups))
	for i, reference := range lookups {
		texts[i] = reference.Text()
		canonical := reference.Canonical()
		l.texts[canonical] = append(l.texts[canonical], texts[i])
	}
	turns := r.Namespace
	if pin.ByKubernetes(req.User) {
		turns = byKubernetes + req.Sender + "/" + turns
	}
	l.running = s.running(ctx, r, turns, texts, l.stored)
	return l
}

// Resolve returns the digest that the siblings run. If they run none, it asks next, and records the
// digest for later siblings if the pod will be stored.
func (l *layer) Resolve(ctx context.Context, req resolve.Request) (resolve.Result, error) {
	texts := l.texts[req.Ref.Canonical()]
	for _, text := range texts {
		if d := l.running.Digests[text]; d != "" {
			return resolve.Result{Digest: d, Sibling: true}, nil
		}
	}
	switch {
	case l.running.Err != nil && ctx.Err() != nil:
		return resolve.Result{}, resolve.Late(ctx, req.Ref)
	case l.running.Err != nil:
		return resolve.Result{}, errUnknown
	}
	first := try{l.revision, req.Ref.Canonical()}
	if req.First = l.running.First; req.First && l.stored {
		req.Since, _ = l.siblings.tries.Get(first)
	}
	began := time.Now()
	result, err := l.next.Resolve(ctx, req)
	if err != nil && l.stored && errors.Is(context.Cause(ctx), resolve.ErrImpatient) {
		l.siblings.tried(first, began)
	}
	if err == nil && l.stored {
		for _, text := range texts {
			result.Digest = l.siblings.Record(l.revision, text, result.Digest)
		}
	}
	return result, err
}
