// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"slices"
	"sync"

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/workload"
)

// lookups are the lookups of one report. Each namespace goes through its own, so that one whose
// registries don't answer does not hold up the others.
type lookups struct {
	*Auditor

	queue fair.Queue // of namespaces

	tags, served, moves questions
}

// lookUp looks up what has to be asked about all subjects, by namespace.
func (a *Auditor) lookUp(ctx context.Context, all map[string][]*subject) {
	if !a.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, a.Until)
		defer cancel()
	}
	l := &lookups{Auditor: a}
	l.queue.Capacity, l.queue.Share = int64(a.parallel()), int64(a.parallel())
	if len(all) > 1 {
		l.queue.Share = max(1, l.queue.Capacity/4)
	}
	// The second time, the answers that other namespaces got in the meantime are compared.
	for range 2 {
		var namespaces sync.WaitGroup
		for name, subjects := range all {
			namespaces.Go(func() { l.namespace(ctx, name, subjects) })
		}
		namespaces.Wait()
	}
}

// namespace looks up what has to be asked about the subjects of a namespace.
func (l *lookups) namespace(ctx context.Context, name string, subjects []*subject) {
	for _, step := range []struct {
		ask askFunc
		add func(s *subject) *question // nil if there is nothing to ask
	}{
		{l.askTag, l.addTag}, {l.askServed, l.addServed}, {l.askMove, l.addMove},
	} {
		jobs := map[*question]*job{}
		var ordered []*job
		for _, s := range subjects {
			q := step.add(s)
			if q == nil {
				continue
			}
			if jobs[q] == nil {
				jobs[q] = &job{question: q, namespace: name, ask: step.ask}
				ordered = append(ordered, jobs[q])
			}
			jobs[q].add(s.identities)
		}
		l.run(ctx, name, ordered)
	}
}

// run runs the jobs of a namespace, as many at a time as its share allows. A job that waits for a
// registry keeps its place among those of its namespace, but gives others its turn meanwhile.
func (l *lookups) run(ctx context.Context, namespace string, jobs []*job) {
	var group sync.WaitGroup
	defer group.Wait()
	places := make(chan struct{}, l.queue.Share)
	for len(jobs) > 0 {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		i := slices.IndexFunc(jobs, func(j *job) bool { return j.asking.TryLock() })
		if i < 0 { // other namespaces are asking all that is left
			<-places
			jobs[0].asking.Lock()
			jobs[0].asking.Unlock() //nolint:staticcheck // to wait is all there is to do
			continue
		}
		j := jobs[i]
		jobs = slices.Delete(jobs, i, i+1)
		group.Go(func() {
			defer func() { <-places }()
			defer j.asking.Unlock()
			if !j.answered(namespace) {
				l.try(ctx, j)
			}
		})
	}
}

// job is a question of one namespace.
type job struct {
	*question

	namespace  string
	identities []workload.Identity
	ask        askFunc
}

// add adds identities whose credentials may be tried.
func (j *job) add(identities []workload.Identity) {
	for _, id := range identities {
		if len(j.identities) < maxIdentities && !slices.ContainsFunc(j.identities, id.Equal) {
			j.identities = append(j.identities, id)
		}
	}
}

// addTag returns the question which digest the tag of a subject names.
func (l *lookups) addTag(s *subject) *question {
	if s.tagged == nil && s.asks() && !s.tag.IsZero() {
		s.tagged = l.add(&l.tags, s.tag.Canonical(), &question{image: s.tag})
	}
	return s.tagged
}

// addServed returns the question whether the digest that runs is served. It need not be asked if
// the tag names it, or if the digest belongs to another repository.
func (l *lookups) addServed(s *subject) *question {
	if s.served != nil || !s.asks() || s.runs.IsZero() || s.foreign != "" {
		return s.served
	}
	if s.servedByTag() {
		return nil
	}
	image := s.digestOnly()
	s.served = l.add(&l.served, image.Canonical(), &question{image: image})
	return s.served
}

// addMove returns the question whether the tag names the same manifests as the digest that runs, if
// it names another digest. A digest that is gone can't be asked for.
func (l *lookups) addMove(s *subject) *question {
	moved := s.moved()
	if s.move != nil || moved == "" {
		return s.move
	}
	q := &question{image: s.tagNow(moved), runs: s.digest()}
	switch served := s.servedError(); {
	case s.served != nil && served == nil:
		q.old = s.digestOnly()
	case s.served != nil && !isGone(served):
		return nil // it is not known what runs
	}
	name := q.image.Canonical() + " " + q.runs.String()
	if !q.old.IsZero() {
		name += " " + q.old.Canonical()
	}
	s.move = l.add(&l.moves, name, q)
	return s.move
}

// add returns the question of this name, which is new unless it is there already.
func (l *lookups) add(all *questions, name string, q *question) *question {
	known, isNew := all.add(name, q)
	if isNew {
		l.progress(0, 1)
	}
	return known
}
