// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"
	"strings"
)

// Template adds a kind to a Table: where its pod templates are. A path leads to an object with metadata and spec, as
// PodTemplateSpec has them: spec.template, or with [*] for every element of a list,
// spec.replicatedJobs[*].template.spec.template.
type Template struct {
	Group, Kind string
	Paths       []string
}

// Table knows for each kind where its pod templates are. The zero value knows the built-in kinds.
type Table struct {
	// Labels are names of labels that Scan keeps beside the Label… ones. They are set before the
	// first use. Default: none.
	Labels []string

	extra map[Kind]*node
}

// node is a step on the way to the templates of one kind.
type node struct {
	template bool             // a pod template is here
	several  bool             // of the root: the kind has several templates, or a list of them
	fields   map[string]*node // by the name of the field
	elements *node            // of a list
}

// builtin is the table of kinds that Kubernetes itself has. A test compares it with the types of k8s.io/api.
func builtin(kind Kind) *node {
	switch kind {
	case Kind{"", "Pod"}:
		return podTree
	case Kind{"apps", "Deployment"}, Kind{"apps", "ReplicaSet"}, Kind{"apps", "StatefulSet"}, Kind{"apps", "DaemonSet"},
		Kind{"batch", "Job"}, Kind{"", "ReplicationController"}:
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

// NewTable is the built-in table with kinds added. Its error names every mistake.
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
			errs = append(errs, fmt.Errorf("template of %s: the kind is known already", kind))
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

// Known tells whether the table has the kind.
func (t *Table) Known(kind Kind) bool { return t.tree(kind) != nil }

// Custom tells whether the kind was added to the built-in ones. A CRD may prune the metadata of its templates, so that
// annotations have to stand in the object's own.
func (t *Table) Custom(kind Kind) bool { return builtin(kind) == nil && t.Known(kind) }

func (t *Table) tree(kind Kind) *node {
	if n := builtin(kind); n != nil || t == nil {
		return n
	}
	return t.extra[kind]
}

// String is kind.group, or the kind alone for the core group.
func (k Kind) String() string {
	if k.Group == "" {
		return k.Kind
	}
	return k.Kind + "." + k.Group
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
			return fmt.Errorf("path %q: %q is no field name, with or without [*]", path, step)
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
			return fmt.Errorf("path %q: a pod template is on the way to it", path)
		}
	}
	if at.fields != nil || at.elements != nil {
		return fmt.Errorf("path %q: another path leads through it", path)
	}
	at.template = true
	return nil
}
