// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"errors"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/printable"
)

// judge returns the finding about a subject.
func (a *Auditor) judge(s *subject) Finding {
	f := Finding{
		Namespace: s.namespace,
		Workload:  Workload{s.owner.Group, s.owner.Kind, s.owner.Name},
		Container: s.container.Name, Type: s.container.Type, Image: s.container.Image,
		Count: s.count, forTenants: a.ForTenants,
	}
	if s.container.ran() {
		f.RunningDigest = s.digest()
	}
	switch {
	case s.key == rest(s.namespace), s.container.unread != "": // some of them may be pinned
	case s.image.Pinned():
		f.is(Pinned, "")
	case s.container.Never:
		f.is(Exempt, "")
	case s.invalid == "" && a.Exempt != nil && a.Exempt(s.image):
		f.is(Exempt, "")
	default:
		f.is(Unpinned, "")
	}
	if s.container.Never {
		f.note("it is never pulled, because of its pull policy")
		return f
	}
	if s.invalid != "" {
		f.is(Unknown, s.invalid)
		return f
	}
	f.judgeTag(s)
	f.judgeDigest(s)
	return f
}

// judgeTag judges what the tag names now.
func (f *Finding) judgeTag(s *subject) {
	if s.tagged == nil {
		return
	}
	tag, err := s.tagged.answer(s.namespace)
	switch {
	case isGone(err) && s.image.Pinned():
		f.note("the tag no longer exists")
	case isGone(err):
		f.gone(s, "tag", err)
	case err != nil:
		f.fails("the tag: ", err)
	default:
		f.TagDigest = tag.digest
		f.judgeMove(s)
	}
}

// judgeMove judges whether a tag that names another digest names other images.
func (f *Finding) judgeMove(s *subject) {
	moved := s.moved()
	if moved == "" {
		return
	}
	move, err := answer{}, errLate
	if s.move != nil {
		move, err = s.move.answer(s.namespace)
	} else if served := s.servedError(); served != nil && !isGone(served) {
		return // it is not known whether the digest that runs is an index
	}
	switch {
	case move.same:
		return
	case s.foreign != "" && !errors.Is(err, errLate):
		f.is(Unknown, "the node knows the image as "+s.foreign+", so its digest can't be compared")
	case err != nil:
		f.fails("comparing with the tag: ", err)
	default:
		f.is(Drifted, "")
	}
}

// judgeDigest judges whether the digest that runs is still served.
func (f *Finding) judgeDigest(s *subject) {
	err := s.servedError()
	switch {
	case s.unknown != "":
		f.is(Unknown, s.unknown)
	case s.runs.IsZero():
		f.note("it has not started")
	case err == nil:
		return
	case isGone(err):
		f.gone(s, "digest", err)
	default:
		f.fails("the digest: ", err)
	}
}

// gone adds the state gone if the image has run. Otherwise it may never have been there.
func (f *Finding) gone(s *subject, what string, err error) {
	if s.container.ran() {
		f.is(Gone, "the registry no longer has the "+what+": "+f.cause(err))
		return
	}
	f.is(Unknown, "it has not started, and the registry does not have the "+what+": "+f.cause(err))
}

// cause returns why a lookup failed. What only the operator may know is kept apart.
func (f *Finding) cause(err error) string {
	cause := failure.Cause(err)
	if f.forTenants {
		f.Causes = append(f.Causes, printable.Text(cause))
		return err.Error()
	}
	return cause
}

// is adds a state and why it is so.
func (f *Finding) is(state State, why string) {
	if !f.Has(state) {
		f.States = append(f.States, state)
	}
	f.note(why)
}

// fails adds the state unknown because of a failed lookup.
func (f *Finding) fails(what string, err error) {
	f.lookupFailed = true
	f.is(Unknown, what+f.cause(err))
}

// note adds a detail.
func (f *Finding) note(text string) {
	if text != "" {
		f.Details = append(f.Details, printable.Text(text))
	}
}
