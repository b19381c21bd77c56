// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strings"

	"github.com/tagpin/tagpin/pkg/workload"
)

// collector finds the objects of one document.
type collector struct {
	stream *Stream
	// seen has the values that were visited. A list can contain the same value many times by
	// aliases. The value is collected once, because all its occurrences change together.
	seen map[*value]bool
}

// collect adds v to the stream's objects if it is an object of a known kind, or the items of v if
// it is a list. inherited is the kind of an item without a kind of its own, as in the typed lists
// of an API server, such as PodList.
func (c *collector) collect(v *value, inherited workload.Kind) error {
	if v.kind != '{' || c.seen[v] {
		return nil
	}
	c.seen[v] = true
	kind := workload.KindOf(v.get("apiVersion").str(), v.get("kind").str())
	if kind.Kind == "" {
		kind = inherited
	}
	if c.stream.table.Known(kind) {
		return c.object(v, kind)
	}
	items := v.get("items")
	if items == nil || items.kind != '[' || !strings.HasSuffix(kind.Kind, "List") {
		return nil
	}
	itemKind := workload.Kind{Group: kind.Group, Kind: strings.TrimSuffix(kind.Kind, "List")}
	for _, item := range items.items {
		if err := c.collect(item, itemKind); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) object(v *value, kind workload.Kind) error {
	if d := v.duplicateKey(map[*value]bool{}); d != nil {
		return c.stream.errorf(d.line, "duplicate key %q in a mapping", d.text)
	}
	raw := v.appendJSON(nil)
	if len(raw) > maxExpanded {
		return c.stream.errorf(v.line,
			"the object is larger than %d MiB when its aliases are followed", maxExpanded>>20)
	}
	if err := c.stream.addExpanded(v.line, len(raw)); err != nil {
		return err
	}
	scanned, err := c.stream.table.Scan(kind, raw)
	if err != nil {
		return c.stream.errorf(v.line, "%v", err)
	}
	c.stream.Objects = append(c.stream.Objects, &Object{Object: scanned, stream: c.stream, root: v})
	return nil
}
