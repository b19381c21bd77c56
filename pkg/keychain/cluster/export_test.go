// SPDX-License-Identifier: Apache-2.0

package cluster

// Bounded returns a Cluster that remembers less than others. 0 means no bound of its own.
func Bounded(get Get, objects, bytes int) *Cluster {
	c := &Cluster{Get: get}
	c.once.Do(c.init)
	c.known.Size, c.known.Bytes = objects, bytes
	return c
}
