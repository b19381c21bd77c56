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
	Pods int // that were added

	rows map[key]*row
	used map[string]usage  // by namespace
	text map[string]string // each text once
}

// key tells rows apart.
type key struct {
	namespace string
	owner     Owner
	container Container
}

// row is the containers with a key.
type row struct {
	pods    int // the number of containers
	identities []workload.Identity
}

// usage is what a namespace has added.
type usage struct{ rows, text int }

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
	if p.TooMany {
		c.add(rest(p.Namespace), workload.MaxReferences+1)
	}
}

// rest is the key of the containers of a namespace that are beyond the bounds.
func rest(namespace string) key {
	return key{namespace, Owner{Kind: others, Name: others}, Container{
		Name: others, Type: TypeContainer,
	}}
}

func (c *Collector) add(k key, pods int, identities ...workload.Identity) {
	if c.rows == nil {
		c.rows, c.used = map[key]*row{}, map[string]usage{}
	}
	used, r := c.used[k.namespace], c.rows[k]
	if r == nil && (used.rows >= maxRows || used.text+k.size() > maxText) {
		k = rest(k.namespace)
		identities, r = nil, c.rows[k]
	}
	if r == nil {
		r = &row{}
		used.rows++
		used.text += k.size()
		c.rows[c.keep(k)] = r
	}
	r.pods += pods
	defer func() { c.used[k.namespace] = used }()
	for _, id := range identities {
		fits := used.text+sizeOf(id) <= maxText || len(r.identities) == 0
		if len(r.identities) < maxIdentities && fits && !slices.ContainsFunc(r.identities, id.Equal) {
			used.text += sizeOf(id)
			r.identities = append(r.identities, id)
		}
	}
}

// keep returns the key with the copies of its texts that are kept.
func (c *Collector) keep(k key) key {
	o := k.owner
	k.namespace = c.once(k.namespace)
	k.owner = Owner{c.once(o.Group), c.once(o.Kind), c.once(o.Name), c.once(o.UID)}
	k.container.Name, k.container.Image = c.once(k.container.Name), c.once(k.container.Image)
	k.container.ImageID = c.once(k.container.ImageID)
	return k
}

// once returns the copy of a text that is kept.
func (c *Collector) once(text string) string {
	if c.text == nil {
		c.text = map[string]string{}
	}
	if kept, ok := c.text[text]; ok {
		return kept
	}
	c.text[text] = text
	return text
}

// Owners returns the owners of this group and kind that may have an owner themselves.
func (c *Collector) Owners(group, kind string) map[string]bool {
	uids := map[string]bool{}
	for k := range c.rows {
		if k.owner.Group == group && k.owner.Kind == kind {
			uids[k.owner.UID] = true
		}
	}
	return uids
}

// Replace replaces each owner whose UID is a key of parents by its parent.
func (c *Collector) Replace(parents map[string]Owner) {
	old := c.rows
	c.rows, c.used = nil, nil
	for _, k := range slices.SortedFunc(maps.Keys(old), compareKeys) {
		r := old[k]
		if parent, ok := parents[k.owner.UID]; ok && k.owner.UID != "" {
			k.owner = parent.Valid()
		}
		c.add(k, r.pods, r.identities...)
	}
}

func compareKeys(a, b key) int {
	return cmp.Or(
		cmp.Compare(a.namespace, b.namespace),
		cmp.Compare(a.owner.Kind, b.owner.Kind), cmp.Compare(a.owner.Name, b.owner.Name),
		cmp.Compare(a.owner.Group, b.owner.Group), cmp.Compare(a.owner.UID, b.owner.UID),
		cmp.Compare(a.container.Type, b.container.Type),
		cmp.Compare(a.container.Name, b.container.Name),
		cmp.Compare(a.container.Image, b.container.Image),
		cmp.Compare(a.container.ImageID, b.container.ImageID),
	)
}
