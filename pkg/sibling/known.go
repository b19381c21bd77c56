// SPDX-License-Identifier: Apache-2.0

package sibling

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"time"

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/span"
	"github.com/tagpin/tagpin/pkg/workload"
)

// maxPages is the maximum number of pages that one list reads.
const maxPages = 10

// listing describes a list in the text of a panic.
const listing = "listing the pods of a revision"

// record is what is remembered of one revision. Its map doesn't change once it is remembered.
type record struct {
	listed    time.Time       // when the last list began, or ended if it failed
	err       error           // the error of the last list
	truncated bool            // the last successful list stopped before the last pod
	dropped   bool            // that list has found more texts than are remembered
	texts     map[string]fact // what the siblings run, by text
}

// shared is the result of a call that pods of a revision share.
type shared struct {
	record

	remembered bool // the record was known before, so that no list was made
}

// fact is a digest that a list has found or, if recorded is not zero, that Record was given then.
type fact struct {
	digest   digest.Digest
	recorded time.Time
}

// Running returns what the oldest siblings of a new pod run for some texts.
//
// It makes at most one list while the result of an earlier one is remembered. If stored is true,
// the pod will be stored with a digest of its own for every text that no sibling runs. Then a list
// that ended before the call can't show that the pod is the first one, and Running may list the
// pods again.
func (s *Siblings) Running(
	ctx context.Context, r Revision, texts []string, stored bool,
) Running {
	return s.running(ctx, r, r.Namespace, texts, stored)
}

// byKubernetes begins the name under which pods that a controller of Kubernetes creates in a
// namespace have their lists take turns. The controller waits in one of a few workers that it has
// for all namespaces, and pods that a person creates must not delay that. The sender follows,
// because anybody who reaches the port can make up the user. No name of a namespace has a slash.
const byKubernetes = "kubernetes/"

// running is Running, whose lists take turns under a name.
func (s *Siblings) running(
	ctx context.Context, r Revision, turns string, texts []string, stored bool,
) Running {
	s.once.Do(s.init)
	rec, ok := s.known.Get(r)
	if ok && s.recent(&rec, texts, stored) {
		return s.conclude(&rec, texts, rec.err)
	}
	if hasAll(s.digests(&rec, texts), texts) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, refreshTimeout)
		defer cancel()
	}
	for {
		own := false // the list was made for these texts
		listed, err := s.lists.DoQueued(ctx, r, cache.Caller{Namespace: turns},
			func(ctx context.Context, turn cache.Turn) (shared, error) {
				// Another list may have ended between Get and DoQueued.
				rec, ok := s.known.Get(r)
				if ok && s.recent(&rec, texts, stored) {
					return shared{rec, true}, nil
				}
				leave, err := s.Queue.Enter(ctx, turns, 1)
				if err != nil {
					return shared{}, err
				}
				defer leave()
				if err := turn.Start(); err != nil {
					return shared{}, err
				}
				own = true
				return shared{s.list(ctx, r, texts), false}, nil
			})
		if err != nil { // the context has ended, or too many lists wait
			rec, _ = s.known.Get(r)
			return s.conclude(&rec, texts, err)
		}
		if own {
			listed.dropped = false // the list was for these texts, and has left out none of them
		}
		running := s.conclude(&listed.record, texts, listed.err)
		complete := !listed.truncated && !listed.dropped && !listed.remembered
		if own || !stored || complete || listed.err != nil || hasAll(running.Digests, texts) {
			return running
		}
		// The list of another pod had ended before, has stopped before it found these texts, or has
		// found too many.
	}
}

// conclude returns what a record says about some texts. err is the reason why the record may be
// outdated, if there is one.
func (s *Siblings) conclude(rec *record, texts []string, err error) Running {
	known := s.digests(rec, texts)
	switch {
	case hasAll(known, texts), apierrors.IsForbidden(err):
		return Running{Digests: known}
	case err != nil:
		return Running{Digests: known, Err: err}
	}
	return Running{Digests: known, First: !rec.truncated && !rec.dropped}
}

// recent reports whether a record makes a list unnecessary. For a pod that will be stored, a list
// that has ended before must have found all texts, because it can't show that a pod is the first.
// For other pods, one that has found too many texts must have found these.
func (s *Siblings) recent(rec *record, texts []string, stored bool) bool {
	if rec.err != nil {
		return time.Since(rec.listed) < min(retryAfter, s.ttl())
	}
	return time.Since(rec.listed) < s.ttl() &&
		(!stored && !rec.dropped || hasAll(s.digests(rec, texts), texts))
}

// digests returns the known digests of some texts.
func (s *Siblings) digests(rec *record, texts []string) map[string]digest.Digest {
	known := map[string]digest.Digest{}
	for _, text := range texts {
		if f, ok := rec.texts[text]; ok && s.holds(f) {
			known[text] = f.digest
		}
	}
	return known
}

// holds reports whether a fact still counts.
func (s *Siblings) holds(f fact) bool {
	return f.recorded.IsZero() || time.Since(f.recorded) < s.ttl()
}

// list lists the pods of a revision, and remembers and returns the new record. If the list fails,
// the new record keeps what was known before.
func (s *Siblings) list(ctx context.Context, r Revision, texts []string) (updated record) {
	began := time.Now()
	ctx, called := span.Call(ctx, "siblings")
	defer called.End()
	found := oldest{
		policy: s.Policy, table: workload.Table{Labels: s.RevisionLabels}, revision: r,
		wanted: map[string]bool{},
	}
	for _, text := range texts {
		found.wanted[text] = true
	}
	var next string
	err := s.Panics.Catch(listing, func() (err error) {
		next, err = s.pages(ctx, &found, texts)
		return err
	})
	result := resultOf(err, len(found.texts))
	s.Metrics.count(result)
	called.Text("tagpin.result", result)
	s.known.Update(r, 0, func(rec record, _ bool) (record, bool) {
		// A digest that a former list has found is only kept if this one fails.
		known := maps.Clone(rec.texts)
		maps.DeleteFunc(known, func(_ string, f fact) bool {
			return !s.holds(f) || err == nil && f.recorded.IsZero()
		})
		if err != nil {
			rec.err, rec.listed, rec.texts = err, time.Now(), known
		} else {
			rec = record{
				listed: began, truncated: next != "", dropped: found.dropped, texts: found.addTo(known),
			}
		}
		updated = rec
		return rec, true
	})
	return updated
}

// pages reads the pages of a list until all texts are found. If there are more pods, next is not
// empty. A pod that is too large to read ends the list like too many pods.
func (s *Siblings) pages(
	ctx context.Context, found *oldest, texts []string,
) (next string, err error) {
	for range maxPages {
		next, err = s.List(ctx, found.revision, next, found.add)
		if errors.Is(err, fair.ErrTooLarge) {
			return "too large", nil
		}
		if err != nil || next == "" || hasAll(found.texts, texts) {
			return next, err
		}
	}
	return next, nil
}

// Record records the digest that the first pod of a revision gets for a text, and returns it. If
// another pod of the revision has a digest for the text by now, Record returns that one instead.
func (s *Siblings) Record(r Revision, text string, d digest.Digest) digest.Digest {
	s.once.Do(s.init)
	s.known.Update(r, 0, func(rec record, ok bool) (record, bool) {
		if !ok {
			return rec, false
		}
		f, exists := rec.texts[text]
		switch {
		case exists && s.holds(f):
			d = f.digest
		case exists || countRecorded(rec.texts) < maxTexts:
			rec.texts = maps.Collect(maps.All(rec.texts)) // a copy, also of nil
			rec.texts[text] = fact{d, time.Now()}
		}
		return rec, true
	})
	return d
}

// try is an image that the first pod of a revision needs.
type try struct {
	Revision

	image string // canonical
}

// tried remembers for the TTL that a controller did not wait for an image, and since when it needs
// it. When it tries again, an answer will do that was asked for after that.
func (s *Siblings) tried(t try, since time.Time) {
	s.tries.Update(t, s.ttl(), func(known time.Time, ok bool) (time.Time, bool) {
		if ok {
			since = known
		}
		return since, true
	})
}

// countRecorded returns the number of digests that no list has found yet.
func countRecorded(texts map[string]fact) (n int) {
	for _, f := range texts {
		if !f.recorded.IsZero() {
			n++
		}
	}
	return n
}

// weigh returns the approximate size of a record in bytes.
func weigh(_ Revision, rec record) (bytes int) {
	const entry = 160
	for text := range rec.texts {
		bytes += entry + len(text)
	}
	return bytes
}

func (s *Siblings) ttl() time.Duration { return cmp.Or(max(s.TTL, 0), defaultTTL) }

func (s *Siblings) init() {
	s.known.Size, s.known.Bytes, s.known.Weigh = maxRevisions, maxBytes, weigh
	s.known.Owner = func(r Revision, _ record) string { return r.Namespace }
	s.tries.Owner = func(t try, _ time.Time) string { return t.Namespace }
	s.lists.Timeout, s.lists.Doing, s.lists.Panics = listTimeout, listing, s.Panics
}
