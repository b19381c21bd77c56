// SPDX-License-Identifier: Apache-2.0

package sibling

import (
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Revision is one revision of a controller. It is comparable.
type Revision struct{ Namespace, Owner, Label, Value string }

// maxName is longer than any UID, namespace or value of a label. A review is answered before its object is checked.
const maxName = 253

// RevisionOf is the revision that a pod belongs to. ok is false where it has none: no controller, or none of the labels.
func RevisionOf(namespace string, pod *workload.Object) (r Revision, ok bool) {
	m := &pod.Metadata
	r = Revision{Namespace: namespace, Owner: m.Controller.UID}
	if r.Owner == "" || max(len(r.Owner), len(namespace)) > maxName {
		return Revision{}, false
	}
	for _, label := range []string{workload.LabelControllerRevisionHash, workload.LabelPodTemplateHash, workload.LabelControllerUID} {
		if value := m.Labels[label]; value != "" && len(value) <= maxName {
			r.Label, r.Value = label, value
			return r, true
		}
	}
	return Revision{}, false
}

// oldest collects what the oldest pods of a revision run, of those that are listed.
type oldest struct {
	policy   *policy.Policy
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
	pod, err := (*workload.Table)(nil).Scan(workload.Kind{Kind: "Pod"}, raw)
	if err != nil {
		return err
	}
	if r, ok := RevisionOf(o.revision.Namespace, pod); !ok || r != o.revision || len(pod.PodSpecs) == 0 {
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
