// SPDX-License-Identifier: Apache-2.0

package sibling

import (
	"cmp"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Revision is one revision of a controller. It is comparable. Its pods are those that have the
// label and whose controller has the UID Owner.
//
// A ReplicaSet or a ReplicationController is one revision by itself, and its pods are found by the
// UID alone. Its label only makes the list shorter. The label is empty if the pods have none of the
// known labels.
type Revision struct{ Namespace, Owner, Label, Value string }

// RevisionOf returns the revision that a pod belongs to, by one of workload.RevisionLabels or else
// by one of labels, which are those of the config. These come last, because a configured label may
// stand for more than one revision. ok is false if the pod has no controller, or has no label that
// tells the controller's revisions apart.
func RevisionOf(namespace string, pod *workload.Object, labels []string) (r Revision, ok bool) {
	m := &pod.Metadata
	r = Revision{Namespace: namespace, Owner: m.Controller.UID}
	if r.Owner == "" || max(len(r.Owner), len(namespace)) > workload.MaxName {
		return Revision{}, false
	}
	builtin := workload.RevisionLabels()
	for _, list := range [...][]string{builtin[:], labels} {
		for _, label := range list {
			if value := m.Labels[label]; value != "" && len(value) <= workload.MaxName {
				r.Label, r.Value = label, value
				return r, true
			}
		}
	}
	if m.Controller.GroupKind().IsRevision() {
		return r, true
	}
	return Revision{}, false
}

// has reports whether a pod of the revision's namespace belongs to the revision.
func (r Revision) has(pod *workload.Object) bool {
	m := &pod.Metadata
	if m.Controller.UID != r.Owner {
		return false
	}
	return m.Controller.GroupKind().IsRevision() || m.Labels[r.Label] == r.Value
}

// oldest collects, for each text, the digest that the oldest listed pod of a revision runs.
type oldest struct {
	policy   *policy.Policy
	table    workload.Table
	revision Revision
	wanted   map[string]bool // the texts that the list is for, which are always collected
	texts    map[string]podDigest
	dropped  bool // other texts were left out, because there are more than maxTexts
}

// podDigest is a digest with the pod that runs it.
type podDigest struct {
	created, name string
	digest        digest.Digest
}

// compare orders pods by age. Pods that were created in the same second are ordered by name, so
// that every replica chooses the same one.
func (p podDigest) compare(q podDigest) int {
	return cmp.Or(cmp.Compare(p.created, q.created), cmp.Compare(p.name, q.name))
}

// add scans the JSON of a pod. It ignores pods of other revisions.
func (o *oldest) add(raw []byte) error {
	pod, err := o.table.Scan(workload.Kind{Kind: "Pod"}, raw)
	if err != nil {
		return err
	}
	if !o.revision.has(pod) || len(pod.PodSpecs) == 0 {
		return nil
	}
	if o.texts == nil {
		o.texts = map[string]podDigest{}
	}
	for text, running := range o.policy.Running(pod) {
		p := podDigest{pod.Metadata.Created, pod.Metadata.Name, running.Digest()}
		known, ok := o.texts[text]
		switch {
		case ok && p.compare(known) >= 0:
		case ok || len(o.texts) < maxTexts || o.wanted[text]:
			o.texts[text] = p
		default:
			o.dropped = true
		}
	}
	return nil
}

// addTo adds the digests that were found to what is known, and returns the result. known may be
// nil.
func (o *oldest) addTo(known map[string]fact) map[string]fact {
	if known == nil {
		known = map[string]fact{}
	}
	for text, p := range o.texts {
		known[text] = fact{digest: p.digest}
	}
	return known
}
