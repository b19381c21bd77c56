// SPDX-License-Identifier: Apache-2.0

package sibling

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"time"

	"github.com/opencontainers/go-digest"

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
	texts     map[string]fact // what the siblings run, by text
}

// fact is a digest that a list has found or, if decided is not zero, that Decide has recorded then.
type fact struct {
	digest  digest.Digest
	decided time.Time
}

// listed is the result of a call that callers share.
type listed struct {
	record

	// caller identifies the call of get that made the list. It is nil if another list had ended before
	// and was used instead.
	caller *bool
}

// source says which list a record comes from.
type source int

const (
	memory     source = iota // a list that ended before the call
	sharedList               // a list that another pod started, for its own texts
	ownList                  // a list for this call
)

// get returns the record of a revision. It takes the remembered one if that is recent enough, and
// otherwise joins the list that is under way or makes one. If relist is true, the result of a
// successful list that ended before does not count. If err is not nil, the last list failed, and
// the record is what was known before.
func (s *Siblings) get(
	ctx context.Context, r Revision, texts []string, relist bool,
) (rec record, from source, err error) {
	s.once.Do(s.init)
	rec, ok := s.known.Get(r)
	if ok && s.recent(&rec, relist) {
		return rec, memory, rec.err
	}
	if hasAll(s.digests(&rec, texts), texts) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, refreshTimeout)
		defer cancel()
	}
	me := new(bool)
	result, err := s.lists.Do(ctx, r, func(ctx context.Context) (listed, error) {
		// Another list may have ended between Get and Do.
		if rec, ok := s.known.Get(r); ok && s.recent(&rec, relist) {
			return listed{record: rec}, nil
		}
		return listed{s.list(ctx, r, texts), me}, nil
	})
	switch {
	case err != nil:
		rec, _ = s.known.Get(r)
		return rec, sharedList, err
	case result.caller == nil:
		return result.record, memory, result.err
	case result.caller == me:
		return result.record, ownList, result.err
	}
	return result.record, sharedList, result.err
}

// recent reports whether a record makes a list unnecessary. If relist is true, only a failure does.
func (s *Siblings) recent(rec *record, relist bool) bool {
	if rec.err != nil {
		return time.Since(rec.listed) < min(retryAfter, s.ttl())
	}
	return !relist && time.Since(rec.listed) < s.ttl()
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
	return f.decided.IsZero() || time.Since(f.decided) < s.ttl()
}

// list lists the pods of a revision, and remembers and returns the new record. If the list fails,
// the new record keeps what was known before.
func (s *Siblings) list(ctx context.Context, r Revision, texts []string) (updated record) {
	began := time.Now()
	ctx, called := span.Call(ctx, "siblings")
	defer called.End()
	found := oldest{policy: s.Policy, table: workload.Table{Labels: s.RevisionLabels}, revision: r}
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
			return !s.holds(f) || err == nil && f.decided.IsZero()
		})
		if err != nil {
			rec.err, rec.listed, rec.texts = err, time.Now(), known
		} else {
			rec = record{listed: began, truncated: next != "", texts: found.addTo(known)}
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
		next, err = s.Lister.List(ctx, found.revision, next, found.add)
		if errors.Is(err, fair.ErrTooLarge) {
			return "too large", nil
		}
		if err != nil || next == "" || hasAll(found.texts, texts) {
			return next, err
		}
	}
	return next, nil
}

// Decide records the digest that the first pod of a revision gets for a text, and returns it. If
// another pod of the revision has a digest for the text by now, Decide returns that one instead.
func (s *Siblings) Decide(r Revision, text string, d digest.Digest) digest.Digest {
	s.once.Do(s.init)
	s.known.Update(r, 0, func(rec record, ok bool) (record, bool) {
		if !ok {
			return rec, false
		}
		f, exists := rec.texts[text]
		switch {
		case exists && s.holds(f):
			d = f.digest
		case exists || len(rec.texts) < maxTexts:
			texts := make(map[string]fact, len(rec.texts)+1)
			maps.Copy(texts, rec.texts)
			texts[text] = fact{d, time.Now()}
			rec.texts = texts
		}
		return rec, true
	})
	return d
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
	s.known.Size = cmp.Or(max(s.Size, 0), defaultSize)
	s.known.Bytes = cmp.Or(max(s.Bytes, 0), defaultBytes)
	s.known.Weigh = weigh
	s.known.Owner = func(r Revision, _ record) string { return r.Namespace }
	s.lists.Timeout, s.lists.Doing, s.lists.Panics = listTimeout, listing, s.Panics
}
