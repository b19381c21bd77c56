// SPDX-License-Identifier: Apache-2.0

package registry

import "time"

const (
	// minSilence is much longer than a registry needs for an answer, and leaves most of a review's
	// time to it.
	minSilence = time.Second
	// silenceLifetime is how long a silence says something about a registry that is not asked any
	// more.
	silenceLifetime = time.Minute
)

// asked records that a request to the registry begins.
func (l *lookup) asked() {
	l.state.silences.Update(l.origin(), silenceLifetime,
		func(since owned[time.Time], ok bool) (owned[time.Time], bool) {
			if !ok {
				since.value = time.Now()
			}
			return owned[time.Time]{since.value, ownerAfter(since.owner, ok, l.Namespace)}, true
		})
}

// heard records that the registry has answered.
func (l *lookup) heard() { l.state.silences.Remove(l.origin()) }

// Silent reports whether a registry is asked and does not answer: for a second or more, no lookup
// has had an answer from it, and at least one was sent in the last minute. Answers by which it is
// unavailable don't count. So it says something about a registry when a lookup can't, because it
// was not sent or has had too little time.
func (c *Client) Silent(host string) bool {
	t := c.target(host)
	since, ok := c.state.silences.Get(t.origin())
	return ok && time.Since(since.value) >= minSilence
}
