// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"
	"strings"
)

// Template adds a kind to a Table. Each path leads to a pod template, an object with the fields
// metadata and spec of a PodTemplateSpec. An example is spec.template. In a path, [*] stands for
// every element of a list: spec.replicatedJobs[*].template.spec.template.
type Template struct {
	Group, Kind string
	Paths       []string
}

// Table has the paths to the pod templates of each kind. The zero value, and a nil *Table, has the
// built-in kinds.
type Table struct {
	// Labels are the names of labels that Scan keeps in addition to those of the Label… constants.
	// They must be set before the first use of the Table. Default: none.
	Labels []string

	extra map[Kind]*node
}

// node is a node of the tree that has all paths to the pod templates of one kind.
type node struct {
	template bool             // the path ends here, at a pod template
	several  bool             // only set in the root: the kind can have several pod templates
	fields   map[string]*node // by the name of the field
	elements *node            // if not nil, the node is a list and this is the node of its elements
}

// builtin returns the tree of a kind that Kubernetes itself defines, or nil for any other kind. A
// test compares this table with the types of k8s.io/api.
func builtin(kind Kind) *node {
	switch kind {
	case Kind{"", "Pod"}:
		return podTree
	case Kind{"apps", "Deployment"}, Kind{"apps", "ReplicaSet"}, Kind{"apps", "StatefulSet"},
		Kind{"apps", "DaemonSet"}, Kind{"batch", "Job"}, Kind{"", "ReplicationController"}:
		return workloadTree
	case Kind{"batch", "CronJob"}:
		return cronJobTree
	case Kind{"", "PodTemplate"}:
		return podTemplateTree
	}
	return nil
}

var (
	podTree         = &node{template: true}
	workloadTree    = mustTree("spec.template")
	cronJobTree     = mustTree("spec.jobTemplate.spec.template")
	podTemplateTree = mustTree("template")
)

// NewTable returns a table of the built-in kinds and the extra ones. Its error describes every
// mistake in the templates.
func NewTable(extra ...Template) (*Table, error) {
	t := &Table{extra: make(map[Kind]*node, len(extra))}
	var errs []error
	for _, e := range extra {
		kind := Kind{e.Group, e.Kind}
		switch {
		case e.Kind == "":
			errs = append(errs, fmt.Errorf("template of group %q: kind is missing", e.Group))
			continue
		case t.Known(kind):
			errs = append(errs, fmt.Errorf("template of %s: the kind is built in or given twice", kind))
			continue
		}
		tree, err := newTree(e.Paths)
		if err != nil {
			errs = append(errs, fmt.Errorf("template of %s: %w", kind, err))
			continue
		}
		t.extra[kind] = tree
	}
	return t, errors.Join(errs...)
}

// Known reports whether the table has the kind.
func (t *Table) Known(kind Kind) bool { return t.tree(kind) != nil }

// Custom reports whether the kind was added to the built-in ones. The annotations of such a kind
// are in the metadata of the object, because a CRD may prune the metadata of its pod templates.
func (t *Table) Custom(kind Kind) bool { return builtin(kind) == nil && t.Known(kind) }

func (t *Table) tree(kind Kind) *node {
	if n := builtin(kind); n != nil || t == nil {
		return n
	}
	return t.extra[kind]
}

func mustTree(path string) *node {
	n, err := newTree([]string{path})
	if err != nil {
		panic(err)
	}
	return n
}

func newTree(paths []string) (*node, error) {
	if len(paths) == 0 {
		return nil, errors.New("no path to a pod template")
	}
	root := &node{several: len(paths) > 1 || strings.Contains(paths[0], "[*]")}
	for _, p := range paths {
		if err := root.add(p); err != nil {
			return nil, err
		}
	}
	return root, nil
}

func (n *node) add(path string) error {
	at := n
	for _, step := range strings.Split(path, ".") {
		name, list := strings.CutSuffix(step, "[*]")
		if name == "" || strings.ContainsAny(name, "[]*'\"\\ \n\t") {
			return fmt.Errorf("path %q: %q is not a field name, with or without [*]", path, step)
		}
		if at.fields == nil {
			at.fields = make(map[string]*node)
		}
		if at.fields[name] == nil {
			at.fields[name] = &node{}
		}
		at = at.fields[name]
		if list {
			if at.elements == nil {
				at.elements = &node{}
			}
			at = at.elements
		}
		if at.template {
			return fmt.Errorf("path %q: another path to a pod template is the beginning of it", path)
		}
	}
	if at.fields != nil || at.elements != nil {
		return fmt.Errorf("path %q: it is the beginning of another path", path)
	}
	at.template = true
	return nil
}
