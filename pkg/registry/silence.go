// SPDX-License-Identifier: Apache-2.0

package registry

import "time"

// silenceLifetime is how long a silence says something about a registry that is not asked any more.
const silenceLifetime = 10 * time.Minute

// asked records that a request to the registry begins: its connection is there or is being made.
func (l *lookup) asked() {
	l.client.silences.Update(l.origin(), l.Namespace, silenceLifetime,
		func(since time.Time) time.Time {
			if since.IsZero() {
				return time.Now()
			}
			return since
		})
}

// heard records that the registry has answered.
func (l *lookup) heard() { l.client.silences.Remove(l.origin()) }

// Silence returns for how long a registry has been asked without an answer to anybody. It is 0 if
// the last request was answered, or was sent more than 10 minutes ago. Answers by which the
// registry is unavailable don't count. So Silence says something about a registry when a lookup
// can't, because it was not sent or has had too little time.
func (c *Client) Silence(host string) time.Duration {
	t := c.target(host)
	since, ok := c.silences.Get(t.origin())
	if !ok {
		return 0
	}
	return time.Since(since)
}
