// SPDX-License-Identifier: Apache-2.0

package sibling

import (
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Revision is one revision of a controller. It is comparable. Its pods are those whose controller
// has the UID Owner, and which have the label. A ReplicaSet or ReplicationController is one
// revision by itself: its pods are known by the UID alone. The label only narrows what is listed
// then, and is empty if they have none of the known ones.
type Revision struct{ Namespace, Owner, Label, Value string }

// maxName is longer than any UID, namespace or value of a label. A review is answered before its
// object is checked.
const maxName = 253

// builtinLabels are looked for in this order, before those of the config: they tell exact
// revisions, which a configured label may not.
var builtinLabels = [...]string{
	workload.LabelControllerRevisionHash,
	workload.LabelPodTemplateHash,
	workload.LabelRolloutsPodTemplateHash,
	workload.LabelControllerUID,
}

// RevisionOf returns the revision that a pod belongs to, by a built-in label or one of labels. ok
// is false if it belongs to none: it has no controller, or the controller's pods have none of the
// labels that would tell its revisions apart.
func RevisionOf(namespace string, pod *workload.Object, labels []string) (r Revision, ok bool) {
	m := &pod.Metadata
	r = Revision{Namespace: namespace, Owner: m.Controller.UID}
	if r.Owner == "" || max(len(r.Owner), len(namespace)) > maxName {
		return Revision{}, false
	}
	for _, list := range [...][]string{builtinLabels[:], labels} {
		for _, label := range list {
			if value := m.Labels[label]; value != "" && len(value) <= maxName {
				r.Label, r.Value = label, value
				return r, true
			}
		}
	}
	if m.Controller.IsRevision() {
		return r, true
	}
	return Revision{}, false
}

// has reports whether a pod of the namespace is of the revision.
func (r Revision) has(pod *workload.Object) bool {
	m := &pod.Metadata
	if m.Controller.UID != r.Owner {
		return false
	}
	return m.Controller.IsRevision() || m.Labels[r.Label] == r.Value
}

// oldest collects what the oldest pods of a revision run, of those that are listed.
type oldest struct {
	policy   *policy.Policy
	table    workload.Table
	revision Revision
	texts    map[string]running
}

type running struct {
	created, name string
	digest        digest.Digest
}

// older orders pods by age, to the second, and those of one age by name: every replica takes the same.
func (r running) older(than running) bool {
	if r.created != than.created {
		return r.created < than.created
	}
	return r.name < than.name
}

// add counts one pod, as JSON, if it is of the revision.
func (o *oldest) add(raw []byte) error {
	pod, err := o.table.Scan(workload.Kind{Kind: "Pod"}, raw)
	if err != nil {
		return err
	}
	if !o.revision.has(pod) || len(pod.PodSpecs) == 0 {
		return nil
	}
	if o.texts == nil {
		o.texts = map[string]running{}
	}
	for text, d := range o.policy.Running(pod, 0) {
		run := running{pod.Metadata.Created, pod.Metadata.Name, d}
		if known, ok := o.texts[text]; (ok || len(o.texts) < maxTexts) && (!ok || run.older(known)) {
			o.texts[text] = run
		}
	}
	return nil
}

// has tells whether all texts are found.
func (o *oldest) has(texts []string) bool {
	return !slices.ContainsFunc(texts, func(text string) bool { return o.texts[text].digest == "" })
}

// digests are what was found, by text.
func (o *oldest) digests() map[string]digest.Digest {
	found := make(map[string]digest.Digest, len(o.texts))
	for text, run := range o.texts {
		found[text] = run.digest
	}
	return found
}
