// SPDX-License-Identifier: Apache-2.0

package sibling

import (
	"context"
	"maps"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/span"
	"github.com/tagpin/tagpin/pkg/workload"
)

// maxPages bounds how many pages of one list are read.
const maxPages = 10

// listing says what a list does, for a panic's text.
const listing = "listing the pods of a revision"

// knowledge is what is known of one revision. Its maps are not changed once it is remembered.
type knowledge struct {
	since time.Time                // when the last list began, or failed
	err   error                    // of the last list
	cut   bool                     // the last list that went well ended before the last pod
	found map[string]digest.Digest // by text, what a sibling runs
	own   map[string]decision      // by text, what was decided since
}

// decision is one of our own.
type decision struct {
	digest digest.Digest
	at     time.Time
}

// list is what a list has made known.
type list struct {
	knowledge

	by *bool // identifies the pod that the list is for; nil: it had ended before
}

// origin is where knowledge comes from.
type origin int

const (
	remembered origin = iota // its list had ended
	joined                   // its list was under way, for the texts of another pod
	begun                    // its list is for this pod
)

// learn returns what is remembered of a revision, or what a list makes known, which it joins or
// begins. With anew, a list that went well does not do if it has ended. The error says why there
// is no answer of now; what was known before is returned all the same.
func (s *Siblings) learn(
	ctx context.Context, r Revision, texts []string, anew bool,
) (knowledge, origin, error) {
	s.once.Do(s.init)
	k, ok := s.known.Get(r)
	if ok && s.holds(&k, anew) {
		return k, remembered, k.err
	}
	if !lacks(s.running(&k, texts), texts) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	me := new(bool)
	l, err := s.lists.Do(ctx, r, func(ctx context.Context) (list, error) {
		if k, ok := s.known.Get(r); ok && s.holds(&k, anew) { // another list has ended meanwhile
			return list{knowledge: k}, nil
		}
		return list{s.list(ctx, r, texts), me}, nil
	})
	switch {
	case err != nil:
		k, _ = s.known.Get(r)
		return k, joined, err
	case l.by == nil:
		return l.knowledge, remembered, l.err
	case l.by == me:
		return l.knowledge, begun, l.err
	}
	return l.knowledge, joined, l.err
}

// holds reports whether what is remembered is young enough. With anew, only a failure is.
func (s *Siblings) holds(k *knowledge, anew bool) bool {
	if k.err != nil {
		return time.Since(k.since) < min(retryAfter, s.ttl())
	}
	return !anew && time.Since(k.since) < s.ttl()
}

// running is what is known of some texts.
func (s *Siblings) running(k *knowledge, texts []string) map[string]digest.Digest {
	known := map[string]digest.Digest{}
	for _, text := range texts {
		if d := s.digest(k, text); d != "" {
			known[text] = d
		}
	}
	return known
}

// digest is what is known of a text; empty: nothing.
func (s *Siblings) digest(k *knowledge, text string) digest.Digest {
	if d := k.found[text]; d != "" {
		return d
	}
	if own, ok := k.own[text]; ok && time.Since(own.at) < s.ttl() {
		return own.digest
	}
	return ""
}

// list lists the pods of a revision and remembers what they run. A list that fails takes nothing
// back.
func (s *Siblings) list(ctx context.Context, r Revision, texts []string) (now knowledge) {
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
	s.known.Update(r, 0, func(k knowledge, _ bool) (knowledge, bool) {
		own := maps.Clone(k.own)
		maps.DeleteFunc(own, func(_ string, d decision) bool { return time.Since(d.at) >= s.ttl() })
		if k.own = own; err != nil {
			k.err, k.since = err, time.Now()
		} else {
			k = knowledge{since: began, cut: next != "", found: found.digests(), own: own}
		}
		now = k
		return k, true
	})
	return now
}

// pages lists until all texts are found. next is not empty if there are more pods.
func (s *Siblings) pages(
	ctx context.Context, found *oldest, texts []string,
) (next string, err error) {
	for range maxPages {
		next, err = s.Lister.List(ctx, found.revision, next, found.add)
		if err != nil || next == "" || found.has(texts) {
			return next, err
		}
	}
	return next, nil
}

// decide remembers the digest of a text, unless one is known, and returns the one that counts.
func (s *Siblings) decide(r Revision, text string, d digest.Digest) digest.Digest {
	s.known.Update(r, 0, func(k knowledge, ok bool) (knowledge, bool) {
		if !ok {
			return k, false
		}
		if known := s.digest(&k, text); known != "" {
			d = known
			return k, true
		}
		if _, again := k.own[text]; again || len(k.own) < maxTexts {
			own := make(map[string]decision, len(k.own)+1)
			maps.Copy(own, k.own)
			own[text] = decision{d, time.Now()}
			k.own = own
		}
		return k, true
	})
	return d
}

// weigh is about how many bytes is held of a revision.
func weigh(_ Revision, k knowledge) (bytes int) {
	const entry = 160
	for text := range k.found {
		bytes += entry + len(text)
	}
	for text := range k.own {
		bytes += entry + len(text)
	}
	return bytes
}

func (s *Siblings) ttl() time.Duration { return orDefault(s.TTL, defaultTTL) }

func (s *Siblings) init() {
	s.known.Size, s.known.Bytes = orDefault(s.Size, defaultSize), orDefault(s.Bytes, defaultBytes)
	s.known.Weigh = weigh
	s.known.Owner = func(r Revision, _ knowledge) string { return r.Namespace }
	s.lists.Timeout = orDefault(s.Timeout, defaultTimeout)
	s.lists.Doing, s.lists.Panics = listing, s.Panics
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}
