// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tagpin/tagpin/pkg/fair"
)

// lookups are the lookups of one report. Each namespace has its share of them, and each subject
// goes through its own questions, so that a registry that does not answer holds up nothing else.
type lookups struct {
	*Auditor

	ctx     context.Context // of the report, whose lookups these are
	queue   fair.Queue      // of namespaces
	workers sync.WaitGroup

	// mu guards all that follows, the fields of the jobs except for job.guesses, and of the questions
	// the fields jobs, asking and blocked.
	mu     sync.Mutex
	tags   questions
	served questions
	moves  questions
	shares map[string]*share
	open   int           // jobs that have not finished, and one while jobs are added or closed
	idle   chan struct{} // closed when open is 0
	ended  bool          // no job may begin
}

// share is what a namespace has of the lookups.
type share struct {
	ready   []*job // those that may be asked now, as far as no other namespace asks the same
	workers int64  // how many are being asked
}

// lookUp looks up what has to be asked about all subjects, by namespace.
func (a *Auditor) lookUp(ctx context.Context, all map[string][]*subject) {
	if !a.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, a.Until)
		defer cancel()
	}
	l := &lookups{
		Auditor: a, ctx: ctx, shares: map[string]*share{}, open: 1, idle: make(chan struct{}),
	}
	l.queue.Capacity, l.queue.Share = int64(a.parallel()), int64(a.parallel())
	if len(all) > 1 {
		l.queue.Share = max(1, l.queue.Capacity/4)
	}
	l.mu.Lock()
	for name, subjects := range all {
		l.shares[name] = &share{}
		for _, s := range subjects {
			l.advanceLocked(s)
		}
	}
	l.closeOneLocked()
	l.mu.Unlock()
	select {
	case <-l.idle:
	case <-ctx.Done():
	}
	l.end()
	l.workers.Wait()
	l.remember(all)
}

// remember keeps what is gone for the next report. If there was no time to ask again for an image
// that was gone, its question is added without being asked, so that it has the last answer.
func (l *lookups) remember(all map[string][]*subject) {
	if l.LastMissing == nil {
		return
	}
	for _, subjects := range all {
		for _, s := range subjects {
			if l.LastMissing.was(s.namespace, s.digestOnly()) {
				l.addServed(s)
			}
		}
	}
	l.LastMissing.replace(all)
}

// end ends all waits.
func (l *lookups) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for _, kind := range []*questions{&l.tags, &l.served, &l.moves} {
		for _, q := range kind.byName {
			for _, j := range q.jobs {
				j.stopTimer()
			}
		}
	}
}

// advanceLocked adds a job for the first question about a subject that has no answer yet. It is
// called again after each answer.
func (l *lookups) advanceLocked(s *subject) {
	for _, step := range []struct {
		ask askFunc
		add func(s *subject) *question // nil if there is nothing to ask
	}{
		{l.askTag, l.addTag}, {l.askServed, l.addServed}, {l.askMove, l.addMove},
	} {
		q := step.add(s)
		if q == nil || q.isKnown() {
			continue
		}
		if j := l.jobLocked(q, s, step.ask); !j.finished {
			return
		}
	}
}

// jobLocked returns the job of a subject's namespace for a question. If there is one, but it has
// failed without an identity of the subject, it goes on.
func (l *lookups) jobLocked(q *question, s *subject, ask askFunc) *job {
	i := slices.IndexFunc(q.jobs, func(j *job) bool { return j.namespace == s.namespace })
	if i < 0 {
		i = len(q.jobs)
		q.jobs = append(q.jobs, &job{
			question: q, namespace: s.namespace, ask: ask, finished: true,
		})
	}
	j := q.jobs[i]
	if !slices.Contains(j.subjects, s) {
		j.subjects = append(j.subjects, s)
	}
	j.addIdentities(s.identities)
	if j.finished && j.tried < len(j.identities) {
		j.finished = false
		l.open++
		l.beginLocked(j)
	}
	return j
}

// beginLocked lets a job be asked when it is its turn.
func (l *lookups) beginLocked(j *job) {
	if l.ended || j.finished {
		return
	}
	of := l.shares[j.namespace]
	of.ready = append(of.ready, j)
	if of.workers < l.queue.Share {
		of.workers++
		l.workers.Go(func() { l.work(of) })
	}
}

// work asks the jobs of a namespace until none is ready.
func (l *lookups) work(of *share) {
	for {
		j := l.take(of)
		if j == nil {
			return
		}
		var found answer
		var wait time.Duration
		err := l.Panics.Catch("looking up an image", func() (err error) {
			found, wait, err = l.try(j)
			return err
		})
		l.tell(j, found, wait, err)
	}
}

// take returns a job that is ready, and marks its question as being asked. It is nil if there is
// none, and then one less is being asked. Jobs for a question that another namespace is asking are
// ready again after that.
func (l *lookups) take(of *share) *job {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(of.ready) > 0 && !l.ended {
		j := of.ready[0]
		of.ready = of.ready[1:]
		switch {
		case j.finished:
		case j.question.asking:
			j.question.blocked = append(j.question.blocked, j)
		default:
			j.question.asking = true
			return j
		}
	}
	of.workers--
	return nil
}

// tell stores what came of asking a job, and decides what is done next: nothing, or the job is
// asked with the next identity, or again after a wait.
func (l *lookups) tell(j *job, found answer, wait time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	j.question.asking = false
	blocked := j.question.blocked
	j.question.blocked = nil
	defer func() {
		for _, other := range blocked {
			l.beginLocked(other)
		}
	}()
	switch {
	case j.finished || (err != nil || wait > 0) && l.ctx.Err() != nil:
	case wait > 0:
		j.timer = time.AfterFunc(wait, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.beginLocked(j)
		})
	case err == nil:
		l.storeLocked(j, found, nil)
		l.open++ // as long as jobs are closed, since each of them may open others
		for _, other := range j.question.jobs {
			l.closeLocked(other)
		}
		l.closeOneLocked()
	case j.fails(err):
		l.storeLocked(j, answer{}, j.failed)
		l.closeLocked(j)
	default:
		l.beginLocked(j)
	}
}

// closeLocked ends a job and advances its subjects. After an answer that another namespace has got,
// a job that has failed before is closed again, since there may be more to ask.
func (l *lookups) closeLocked(j *job) {
	was := j.finished
	j.finished = true
	j.stopTimer()
	for _, s := range j.subjects {
		l.advanceLocked(s)
	}
	if !was {
		l.closeOneLocked()
	}
}

// storeLocked stores the answer of a job, and counts it.
func (l *lookups) storeLocked(j *job, found answer, err error) {
	if j.question.settle(j.namespace, found, err) {
		l.progress(1, 0)
	}
}

// closeOneLocked ends the lookups with the last job.
func (l *lookups) closeOneLocked() {
	if l.open--; l.open == 0 {
		close(l.idle)
	}
}

// addTag returns the question which digest the tag of a subject names.
func (l *lookups) addTag(s *subject) *question {
	if s.tagged == nil && s.asks() && !s.tag.IsZero() {
		q := &question{image: s.tag, missing: l.LastMissing}
		s.tagged = l.questionOf(&l.tags, s.tag.Canonical(), q)
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
	q := &question{image: image, missing: l.LastMissing}
	s.served = l.questionOf(&l.served, image.Canonical(), q)
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
	s.move = l.questionOf(&l.moves, name, q)
	return s.move
}

// questionOf returns the question of this name, which is new unless it is there already.
func (l *lookups) questionOf(all *questions, name string, q *question) *question {
	known, isNew := all.add(name, q)
	if isNew {
		l.progress(0, 1)
	}
	return known
}
