// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"
	"strings"
)

// Table has the paths to the pod templates and images of each kind. The zero value, and a nil
// *Table, has the built-in kinds. It must not be changed after the first Scan.
type Table struct {
	// Labels are the names of labels that Scan keeps in addition to those of the Label… constants.
	// Default: none.
	Labels []string
	// RefreshAnnotations are the names of annotations of pod templates that count as
	// AnnotationRestartedAt does. Default: none.
	RefreshAnnotations []string

	extra map[Kind]*node
}

// node is a node of the tree that has all paths of one kind.
type node struct {
	template bool             // the path ends here, at a pod template
	image    bool             // the path ends here, at an image
	images   bool             // the object has an image; in the root: an object below it has one
	identity bool             // the object has the pull identity for these images
	account  bool             // an element of a list, which may name an account of its own for them
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

// Add adds a kind to the table. Each of templates is the path to a pod template, an object with the
// fields metadata and spec of a PodTemplateSpec. An example is spec.template. In a path, [*] stands
// for every element of a list: spec.replicatedJobs[*].template.spec.template.
//
// Each of images is the path to a text that is an image reference: spec.steps[*].image. Its last
// step is a field. The field imagePullPolicy beside it has its usual meaning. The pull identity of
// all these images is in the fields serviceAccountName and imagePullSecrets of spec, or of another
// object on the way from there to the images' lists, such as a CronWorkflow's spec.workflowSpec.
func (t *Table) Add(kind Kind, templates, images []string) error {
	switch {
	case kind.Kind == "":
		return fmt.Errorf("template of group %q: kind is missing", kind.Group)
	case t.Known(kind):
		return fmt.Errorf("template of %s: the kind is built in or given twice", kind)
	}
	tree, err := newTree(templates, images)
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
	n, err := newTree([]string{path}, nil)
	if err != nil {
		panic(err)
	}
	return n
}

func newTree(templates, images []string) (*node, error) {
	if len(templates)+len(images) == 0 {
		return nil, errors.New("no path to a pod template or an image")
	}
	root := &node{several: len(templates) > 1 || strings.Contains(strings.Join(templates, ""), each)}
	for _, path := range templates {
		if err := root.add(path, node{template: true}); err != nil {
			return nil, err
		}
	}
	for _, path := range images {
		if strings.HasSuffix(path, each) {
			return nil, fmt.Errorf("path %q: the last step of an image's path is a field, not a list", path)
		}
		if err := root.add(path, node{image: true}); err != nil {
			return nil, err
		}
	}
	if len(images) > 0 {
		root.images = true
		root.child("spec").identity = true
	}
	return root, nil
}

// add adds a path that ends at a leaf.
func (n *node) add(path string, leaf node) error {
	if path == "metadata" || strings.HasPrefix(path, "metadata.") {
		return fmt.Errorf("path %q: the metadata of the object is not searched", path)
	}
	parent, lists := n, false
	for _, step := range strings.Split(path, ".") {
		name, list := strings.CutSuffix(step, each)
		lists = lists || list
		if name == "" || strings.ContainsAny(name, "[]*'\"\\ \n\t") {
			return fmt.Errorf("path %q: %q is not a field name, with or without [*]", path, step)
		}
		parent, n = n, n.child(name)
		if list {
			parent, n = n, n.child(each)
		}
		// The pods' account may be named in any object around the images' lists, such as a CronWorkflow's
		// spec.workflowSpec.
		n.identity = n.identity || leaf.image && !lists
		n.account = n.account || leaf.image && lists
		if n.template || n.image {
			return fmt.Errorf("path %q: another path is equal to it or to its beginning", path)
		}
	}
	if n.children != nil {
		return fmt.Errorf("path %q: it is the beginning of another path", path)
	}
	*n = leaf
	parent.images = parent.images || leaf.image
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
