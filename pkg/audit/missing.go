// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"errors"
	"hash/maphash"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
)

// LastMissing has the images that were not found for the last report, for the next one. A lookup
// without an answer does not contradict that: what was gone before a registry was down stays gone
// until it answers again. Then its answer counts, even if it says nothing about the image, such as
// that the login is wrong. The zero value is ready for use. Each namespace has at most two small
// entries for each of its rows.
type LastMissing struct {
	seed maphash.Seed
	gone map[uint64]struct{} // hashes of missing
}

// missing is an image that a namespace has not found.
type missing struct{ namespace, image string }

// was reports whether a namespace did not find an image in the last report. m may be nil.
func (m *LastMissing) was(namespace string, image ref.Reference) bool {
	if m == nil || len(m.gone) == 0 || image.IsZero() {
		return false
	}
	_, ok := m.gone[maphash.Comparable(m.seed, missing{namespace, image.Canonical()})]
	return ok
}

// keep returns the error of a lookup. If there was no answer, and the image was not found for the
// last report, it returns an error that says so.
func (m *LastMissing) keep(namespace string, image ref.Reference, err error) error {
	if failure.Of(err) != failure.Unavailable || !m.was(namespace, image) {
		return err
	}
	const before = "an earlier audit did not find it, and now: "
	found := failure.New(failure.NotFound, errors.New(before+err.Error()))
	return failure.WithCause(found, before+failure.Cause(err))
}

// replace remembers what the subjects have not found, and nothing else.
func (m *LastMissing) replace(all map[string][]*subject) {
	next := LastMissing{maphash.MakeSeed(), map[uint64]struct{}{}}
	for namespace, subjects := range all {
		for _, s := range subjects {
			for _, q := range []*question{s.tagged, s.served} {
				if q == nil {
					continue
				}
				if _, err := q.answer(namespace); isGone(err) {
					key := missing{namespace, q.image.Canonical()}
					next.gone[maphash.Comparable(next.seed, key)] = struct{}{}
				}
			}
		}
	}
	*m = next
}
