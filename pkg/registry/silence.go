// SPDX-License-Identifier: Apache-2.0

package registry

import "time"

// silenceLifetime is how long a silence says something about a registry that is not asked any more.
const silenceLifetime = 10 * time.Minute

// asked records that a request of a lookup begins, also one for a token: its connection is there or
// is being made.
func (l *lookup) asked() {
	l.client.silences.Update(l.server(), l.Namespace, silenceLifetime,
		func(since time.Time) time.Time {
			if since.IsZero() {
				return time.Now()
			}
			return since
		})
}

// heard records that a lookup has got an answer.
func (l *lookup) heard() { l.client.silences.Remove(l.server()) }

// Silence returns for how long a registry, or its token endpoint, has been asked for lookups none
// of which got an answer. It is 0 if the last lookup got one, or was sent more than 10 minutes ago.
// Answers by which the registry is unavailable don't count, and a challenge is not an answer yet.
// So Silence says something about a registry when a lookup can't, because it was not sent or has
// had too little time.
func (c *Client) Silence(host string) time.Duration {
	t := c.target(host)
	since, ok := c.silences.Get(t.server())
	if !ok {
		return 0
	}
	return time.Since(since)
}
