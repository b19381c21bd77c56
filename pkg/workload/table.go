// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"
	"strings"
)

// Table has the paths to the pod templates of each kind. The zero value, and a nil *Table, has the
// built-in kinds. It must not be changed after the first Scan.
type Table struct {
	// Labels are the names of labels that Scan keeps in addition to those of the Label… constants.
	// Default: none.
	Labels []string
	// RefreshAnnotations are the names of annotations of pod templates that count as
	// AnnotationRestartedAt does. Default: none.
	RefreshAnnotations []string

	extra map[Kind]*node
}

// node is a node of the tree that has all paths to the pod templates of one kind.
type node struct {
	template bool             // the path ends here, at a pod template
	several  bool             // only set in the root: the kind can have several pod templates
	children map[string]*node // by the name of the field, or each for the elements of a list
}

// each is the step of a path that stands for every element of a list.
const each = "[*]"

// builtin has the trees of the kinds that Kubernetes itself defines. A test compares it with the
// types of k8s.io/api.
var builtin = map[Kind]*node{
	{"", "Pod"}:                   {template: true},
	{"", "PodTemplate"}:           mustTree("template"),
	{"", "ReplicationController"}: mustTree("spec.template"),
	{"apps", "DaemonSet"}:         mustTree("spec.template"),
	{"apps", "Deployment"}:        mustTree("spec.template"),
	{"apps", "ReplicaSet"}:        mustTree("spec.template"),
	{"apps", "StatefulSet"}:       mustTree("spec.template"),
	{"batch", "CronJob"}:          mustTree("spec.jobTemplate.spec.template"),
	{"batch", "Job"}:              mustTree("spec.template"),
}

// Add adds a kind to the table. Each path leads to a pod template, an object with the fields
// metadata and spec of a PodTemplateSpec. An example is spec.template. In a path, [*] stands for
// every element of a list: spec.replicatedJobs[*].template.spec.template.
func (t *Table) Add(kind Kind, paths ...string) error {
	switch {
	case kind.Kind == "":
		return fmt.Errorf("template of group %q: kind is missing", kind.Group)
	case t.Known(kind):
		return fmt.Errorf("template of %s: the kind is built in or given twice", kind)
	}
	tree, err := newTree(paths)
	if err != nil {
		return fmt.Errorf("template of %s: %w", kind, err)
	}
	if t.extra == nil {
		t.extra = map[Kind]*node{}
	}
	t.extra[kind] = tree
	return nil
}

// Known reports whether the table has the kind.
func (t *Table) Known(kind Kind) bool { return t.tree(kind) != nil }

func (t *Table) tree(kind Kind) *node {
	if n := builtin[kind]; n != nil || t == nil {
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
	root := &node{several: len(paths) > 1 || strings.Contains(paths[0], each)}
	for _, p := range paths {
		if err := root.add(p); err != nil {
			return nil, err
		}
	}
	return root, nil
}

func (n *node) add(path string) error {
	for _, step := range strings.Split(path, ".") {
		name, list := strings.CutSuffix(step, each)
		if name == "" || strings.ContainsAny(name, "[]*'\"\\ \n\t") {
			return fmt.Errorf("path %q: %q is not a field name, with or without [*]", path, step)
		}
		n = n.child(name)
		if list {
			n = n.child(each)
		}
		if n.template {
			return fmt.Errorf("path %q: another path to a pod template is the beginning of it", path)
		}
	}
	if n.children != nil {
		return fmt.Errorf("path %q: it is the beginning of another path", path)
	}
	n.template = true
	return nil
}

// child returns the child of a step, which it adds if there is none yet.
func (n *node) child(step string) *node {
	if n.children == nil {
		n.children = map[string]*node{}
	}
	if n.children[step] == nil {
		n.children[step] = &node{}
	}
	return n.children[step]
}
