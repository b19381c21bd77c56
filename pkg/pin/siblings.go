// SPDX-License-Identifier: Apache-2.0

package pin

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Siblings knows what the pods of a revision run, for rule 7 (see package policy).
type Siblings interface {
	// Running returns the digests that the siblings of a new pod run for some texts. stored is true if
	// the pod will be stored with a digest of its own for every text that no sibling runs. It is then
	// worth a request to be sure that no sibling runs it.
	Running(
		ctx context.Context, namespace string, pod *workload.Object, texts []string, stored bool,
	) Running
	// Decide records the digest that the first pod of a revision gets for a text, and returns the one
	// that the pod must take. It differs from d if another pod of the revision was faster.
	Decide(
		namespace string, pod *workload.Object, text string, d digest.Digest,
	) digest.Digest
}

// Running is what is known about the siblings of a pod.
type Running struct {
	State SiblingState
	// Digests are the digests that the siblings run, by text. It may have some digests in any state
	// but NoRevision.
	Digests map[string]digest.Digest
	// Err is the cause of SiblingsUnknown. It may contain addresses, which a tenant must not see.
	Err error
}

// SiblingState says what it means that a text has no digest in Running.
type SiblingState int

// The states.
const (
	// NoRevision means that the pod belongs to no revision, so that it has no siblings.
	NoRevision SiblingState = iota
	// SiblingsKnown means that every text has a digest.
	SiblingsKnown
	// FirstPod means that no sibling runs the text.
	FirstPod
	// SiblingsHidden means that a sibling may run the text, but can't be listed: tagpin may not list
	// pods, or there are too many pods. The text is then resolved as for any other pod.
	SiblingsHidden
	// SiblingsUnknown means that the API server did not answer. The text must not be resolved.
	SiblingsUnknown
)

// errSiblings is the error for SiblingsUnknown.
var errSiblings = fmt.Errorf(
	"%w: the API server did not say what the other pods of its revision run",
	resolve.ErrUnavailable)

// siblings applies rule 7: it returns what the siblings of a pod run. For any other object it
// returns the zero value.
func (p *Pinner) siblings(ctx context.Context, req Request, decisions []policy.Decision) Running {
	if !p.hasSiblings(req) {
		return Running{}
	}
	var texts []string
	for i := range decisions {
		if d := &decisions[i]; d.Action == policy.Resolve && d.Reason == policy.Tag {
			texts = append(texts, d.Parsed.Text())
		}
	}
	if len(texts) == 0 {
		return Running{}
	}
	return p.Siblings.Running(ctx, req.Namespace, req.Object, texts, stored(req))
}

// hasSiblings reports whether the object is a new pod that a controller creates.
func (p *Pinner) hasSiblings(req Request) bool {
	return p.Siblings != nil && req.Operation == policy.Create &&
		req.Object.Kind == workload.Kind{Kind: "Pod"} && !req.Object.Metadata.Controller.IsZero()
}

// record records a resolved digest for later siblings if the pod will be stored, and returns the
// digest that the pod must take.
func (p *Pinner) record(req Request, text string, d digest.Digest) digest.Digest {
	if !stored(req) || !p.hasSiblings(req) {
		return d
	}
	return p.Siblings.Decide(req.Namespace, req.Object, text, d)
}

// stored reports whether the pins of a request will be stored, if the API server accepts it.
func stored(req Request) bool { return req.Mode == Enforce && !req.DryRun }
