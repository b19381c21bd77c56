// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"cmp"
	"maps"
	"slices"

	"github.com/tagpin/tagpin/pkg/workload"
)

// maxIdentities is the number of pull identities that are kept for one row. Others are tried only
// if the first may not pull the image.
const maxIdentities = 4

// Collector collects pods. It keeps one row for all containers that have the same workload, name
// and image, so its memory depends on the number of workloads and not on that of pods. The zero
// value is ready for use. It is not safe for concurrent use.
type Collector struct {
	// Bytes bounds the memory that the rows and their report take, approximately. If it is used up,
	// the namespace that has most loses rows, whose containers are counted together. If 0, there is
	// no bound.
	Bytes int
	Pods  int // that were added

	namespaces map[string]*namespace
	bytes      int
}

// namespace has the rows of a namespace.
type namespace struct {
	rows  map[key]*row
	text  int               // bytes of the texts in the rows
	bytes int               // that the rows and their report take, approximately
	full  bool              // the namespace has lost rows, and gets no new ones
	texts map[string]string // each text once
}

// The memory that a row and what is reported about it take, at most: a fixed part, and for each
// byte of its texts, which are also in references, questions and details. TestBytes measures them.
const (
	bytesOfRow  = 3 << 10
	bytesOfText = 5
)

// key tells rows apart.
type key struct {
	namespace string
	owner     Owner
	container Container
}

// row is the containers with a key.
type row struct {
	count      int // of containers
	identities []workload.Identity
	losses     losses // why they are counted together, if the row is that of the others
}

// unreadName is the name of the container that stands for a pod that could not be read, and of the
// pod if its name is not known either. No object can have it.
const unreadName = "(unread)"

// podKind is the kind of a workload that is a pod by itself.
const podKind = "Pod"

// Add adds a pod. A pod without a controller is a workload by itself, and so is one whose owner is
// a node: a static pod.
func (c *Collector) Add(p Pod) {
	c.Pods++
	owner := p.Owner
	if owner == (Owner{}) || owner.Group == "" && owner.Kind == "Node" {
		owner = Owner{Kind: podKind, Name: p.Name}
	}
	owner, identity := owner.Valid(), bounded(p.Identity)
	for _, container := range p.Containers {
		c.add(key{p.Namespace, owner, container.bounded()}, 1, identity)
	}
	if p.Unread != "" {
		owner.Name = cmp.Or(owner.Name, unreadName)
		unread := Container{Name: unreadName, Type: TypeContainer, unread: p.Unread}
		c.add(key{p.Namespace, owner, unread}, 1)
	}
	if p.TooMany {
		c.add(rest(p.Namespace), workload.MaxReferences+1).losses |= lostOfPod
	}
}

// rest is the key of the containers of a namespace that are beyond the bounds.
func rest(namespace string) key {
	return key{namespace, Owner{Kind: others, Name: others}, Container{
		Name: others, Type: TypeContainer,
	}}
}

// add adds containers with a key to its row, or to that of the others of its namespace.
func (c *Collector) add(k key, count int, identities ...workload.Identity) *row {
	n := c.namespaces[k.namespace]
	if n == nil {
		if c.namespaces == nil {
			c.namespaces = map[string]*namespace{}
		}
		n = &namespace{rows: map[key]*row{}, texts: map[string]string{}}
		c.namespaces[k.namespace] = n
	}
	var lost losses
	if n.rows[k] == nil {
		lost = c.refuses(n, k)
	}
	switch others := rest(k.namespace); {
	case k == others: // add's caller says why
		lost = 0
	case lost != 0:
		k, identities = others, nil
	}
	r := n.rows[k]
	if r == nil {
		r = &row{}
		n.rows[n.keep(k)] = r
		c.grow(n, bytesOfRow, k.size())
	}
	r.count += count
	r.losses |= lost
	for _, id := range identities {
		fits := n.text+sizeOf(id) <= maxText || len(r.identities) == 0
		if len(r.identities) < maxIdentities && fits && !slices.ContainsFunc(r.identities, id.Equal) {
			c.grow(n, 0, sizeOf(id))
			r.identities = append(r.identities, id)
		}
	}
	return r
}

// refuses returns why a namespace may not have one more row, or 0 if it may. Other namespaces make
// room for it if they have more.
func (c *Collector) refuses(n *namespace, k key) losses {
	switch {
	case n.full:
		return lostToMemory
	case len(n.rows) >= maxRows:
		return lostRows
	case n.text+k.size() > maxText:
		return lostText
	}
	for c.Bytes > 0 && c.bytes+bytesOfRow+bytesOfText*k.size() > c.Bytes {
		largest := n
		for _, other := range c.namespaces {
			if other.bytes > largest.bytes {
				largest = other
			}
		}
		if largest == n {
			n.full = true
			return lostToMemory
		}
		before := c.bytes
		if c.halve(largest); c.bytes == before {
			return lostToMemory
		}
	}
	return 0
}

// halve puts rows of a namespace together until it takes half of the memory. It gets no new ones.
func (c *Collector) halve(n *namespace) {
	n.full = true
	old, most := n.rows, n.bytes/2
	c.bytes -= n.bytes
	n.rows, n.texts, n.text, n.bytes = map[key]*row{}, map[string]string{}, 0, 0
	for _, k := range slices.SortedFunc(maps.Keys(old), compareKeys) {
		r := old[k]
		if lost := rest(k.namespace); k != lost && n.bytes >= most {
			k, r = lost, &row{count: r.count, losses: lostToMemory}
		}
		if known := n.rows[k]; known != nil {
			known.count += r.count
			known.losses |= r.losses
			continue
		}
		n.rows[n.keep(k)] = r
		size := k.size()
		for _, id := range r.identities {
			size += sizeOf(id)
		}
		c.grow(n, bytesOfRow, size)
	}
}

// grow counts memory of a namespace.
func (c *Collector) grow(n *namespace, bytes, text int) {
	bytes += bytesOfText * text
	n.text += text
	n.bytes += bytes
	c.bytes += bytes
}

// keep returns the key with the copies of its texts that are kept.
func (n *namespace) keep(k key) key {
	o := k.owner
	k.namespace = n.once(k.namespace)
	k.owner = Owner{n.once(o.Group), n.once(o.Kind), n.once(o.Name), n.once(o.UID)}
	k.container.Name, k.container.Image = n.once(k.container.Name), n.once(k.container.Image)
	k.container.ImageID = n.once(k.container.ImageID)
	return k
}

// once returns the copy of a text that is kept.
func (n *namespace) once(text string) string {
	if kept, ok := n.texts[text]; ok {
		return kept
	}
	n.texts[text] = text
	return text
}

// Owners returns the owners of this group and kind that may have an owner themselves.
func (c *Collector) Owners(group, kind string) map[string]bool {
	uids := map[string]bool{}
	for _, n := range c.namespaces {
		for k := range n.rows {
			if k.owner.Group == group && k.owner.Kind == kind {
				uids[k.owner.UID] = true
			}
		}
	}
	return uids
}

// Replace replaces each owner whose UID is a key of parents by its parent.
func (c *Collector) Replace(parents map[string]Owner) {
	old := c.namespaces
	c.namespaces, c.bytes = nil, 0
	for _, name := range slices.Sorted(maps.Keys(old)) {
		for _, k := range slices.SortedFunc(maps.Keys(old[name].rows), compareKeys) {
			r := old[name].rows[k]
			if parent, ok := parents[k.owner.UID]; ok && k.owner.UID != "" {
				k.owner = parent.Valid()
			}
			c.add(k, r.count, r.identities...).losses |= r.losses
		}
		delete(old, name)
	}
}

func compareKeys(a, b key) int {
	return cmp.Or(
		cmp.Compare(a.owner.Kind, b.owner.Kind), cmp.Compare(a.owner.Name, b.owner.Name),
		cmp.Compare(a.owner.Group, b.owner.Group), cmp.Compare(a.owner.UID, b.owner.UID),
		cmp.Compare(a.container.Type, b.container.Type),
		cmp.Compare(a.container.Name, b.container.Name),
		cmp.Compare(a.container.Image, b.container.Image),
		cmp.Compare(a.container.ImageID, b.container.ImageID),
	)
}
