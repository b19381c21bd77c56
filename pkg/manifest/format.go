// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/workload"
)

// format is a kind of documents.
type format struct {
	name    string
	cluster bool // its documents are Kubernetes objects for a cluster
	// ownKeysFirst reports that a mapping's own pairs take precedence over those of its merge keys in
	// all programs, wherever the merge keys are.
	ownKeysFirst bool
	// kind is that of its documents, if they are Kubernetes objects. Lists can have them too. Without
	// a name, it stands for all kinds of the group.
	kind workload.Kind
	// known reports whether a document has this format, whatever its kind is. It may be nil.
	known func(f *File, root *yaml.Node) bool
	// also reports that its programs read a document that is known, even if it has another format too.
	also bool
	// anyCase reports that its program ignores the case of keys.
	anyCase bool
	// find finds the references of a document.
	find func(w *walk, root cursor)
}

// valuesFormat is the name of the format of a chart's values.
const valuesFormat = "Values"

// formats returns all formats of YAML and JSON. A document has the first one that knows it, and
// those after it that know it and have also.
func formats() []*format {
	return []*format{
		{
			name: "Kustomization", kind: workload.Kind{Group: kustomizeGroup},
			known: isKustomization, find: findKustomization, anyCase: true,
		},
		{
			name: "FluxKustomization", cluster: true,
			kind: workload.Kind{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization"},
			find: findSpecImages, // like those of kustomize
		},
		{
			name: "HelmRelease", cluster: true, // of Flux
			kind: workload.Kind{Group: "helm.toolkit.fluxcd.io", Kind: "HelmRelease"},
			find: findReleaseValues,
		},
		{
			name: "Application", cluster: true, // of Argo CD
			kind: workload.Kind{Group: "argoproj.io", Kind: "Application"},
			find: findApplicationValues,
		},
		{
			name: "ApplicationSet", cluster: true, // of Argo CD
			kind: workload.Kind{Group: "argoproj.io", Kind: "ApplicationSet"},
			find: findApplicationSetValues,
		},
		{name: "KustomizePlugin", known: isPlugin, find: findPlugin, anyCase: true},
		{name: "Kubernetes", cluster: true, known: isKubernetes},
		{name: "Patch", known: isPatch, find: findPatch},
		{name: "Workflow", known: isWorkflow, find: findWorkflow, ownKeysFirst: true, also: true},
		{name: "Action", known: isAction, find: findAction, ownKeysFirst: true, also: true},
		{name: valuesFormat, known: isValues, find: findValues, also: true},
		{name: "Compose", known: isCompose, find: findCompose, ownKeysFirst: true, also: true},
	}
}

// whole adds the reference that a scalar has after a prefix.
func (c cursor) whole(prefix string) {
	c.wholeUnless(prefix, false)
}

// wholeUnless is like whole, for an image that may never be pulled.
func (c cursor) wholeUnless(prefix string, never bool) {
	text, ok := strings.CutPrefix(c.text(), prefix)
	if !ok || strings.TrimSpace(text) == "" {
		return
	}
	c.add(text, place{prefix: prefix}, never)
}

// add adds a reference. The node of the cursor is what an edit changes.
func (c cursor) add(text string, p place, never bool) {
	if variable(text) {
		c.leave(text, onVariable)
		return
	}
	pointer := string(c.pointer)
	if _, twice := c.places[pointer]; twice {
		return
	}
	p.scalar = c.asScalar()
	c.places[pointer] = p
	c.references = append(c.references, workload.Reference{
		Name: pointer, Pointer: pointer, Text: cut(text), Never: never,
	})
}

// variable reports whether a text is a template that another program fills in.
func variable(text string) bool {
	return strings.ContainsAny(text, "${}")
}

// scalar returns the text of a string, or of a number that has the same text for every program. A
// number such as 1.10 is 1.1 for some. ok is false if the node is anything else.
func (c cursor) scalar() (text string, ok bool) {
	if c.node == nil || c.node.Kind != yaml.ScalarNode {
		return "", c.node == nil
	}
	switch kindOf(c.node) {
	case '"':
		return c.node.Value, true
	case 'n':
		return "", true
	case '0':
		n, err := strconv.ParseFloat(c.node.Value, 64)
		same := err == nil && fmt.Sprint(n) == c.node.Value
		return c.node.Value, same
	}
	return "", false
}

// split adds a reference whose name is in other scalars than its tag and its digest. others are the
// scalars of the name. c is the mapping of the tag and the digest. If neither is set, split returns
// false. If the digest has no key of its own, it is added as a key if newKey, and to the tag
// otherwise.
func (c cursor) split(name string, tagKey string, others []scalar, newKey bool) bool {
	tag, digest := c.get(tagKey), c.get("digest")
	tagText, ok := tag.scalar()
	if !ok {
		tag.leaveTag(name, digest)
		return true
	}
	if _, ok := digest.scalar(); !ok {
		digest.leave(name, "its digest is not a text; write it as one")
		return true
	}
	if tag.node != nil {
		others = append(others, tag.asScalar())
	}
	reference := name
	if tagText != "" {
		reference += ":" + tagText
	}
	switch digestText := digest.text(); {
	case digestText != "":
		digest.add(reference+"@"+digestText, place{part: digestPart, others: others}, false)
	case tagText == "":
		return false
	case strings.Contains(tagText, "@") || digest.node == nil && !newKey:
		tag.add(reference, place{part: tagPart, others: others}, false)
	case digest.node != nil:
		digest.add(reference, place{part: digestPart, others: others}, false)
	default:
		tag.add(reference, place{part: missingDigest, others: others}, false)
	}
	return true
}
