// SPDX-License-Identifier: Apache-2.0

// Package sibling finds out what the pods of one revision run, so that a new pod of the revision
// runs the same. It implements rule 7 (see package policy) as a layer around the other Resolvers:
//
//	Siblings.Layer → resolve.Measured → …
//
// A revision is a controller's UID and the label by which the controller tells its revisions apart:
// controller-revision-hash, pod-template-hash, rollouts-pod-template-hash, for a Job
// batch.kubernetes.io/controller-uid, or one that the config names. A ReplicaSet or a
// ReplicationController is one revision by its UID alone.
//
// The pods of a revision are listed by its label, with at most ten requests to the API server for
// 100 pods each, and the result is remembered for a while. If the pods of a ReplicaSet or
// ReplicationController have none of the labels, all pods of the namespace are listed. The
// controller's own selector would shorten that list, but reading it takes another request and
// another permission.
//
// Only the spec of a pod says what it runs; an annotation alone does not count. Before a pod counts
// as the first one of its revision, the pods are listed again, because another replica may have
// admitted the first one in the meantime. If the API server does not answer, no pod counts as the
// first one. A list that is under way is good enough, although it may have begun before another
// replica admitted a pod: if each pod waited for a list of its own, no pod would have an answer in
// time from an API server that is slow. The images of the first pod are resolved by the next
// Resolver, and the digests are recorded for the pods after it.
package sibling

import (
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/policy"
)

const (
	defaultTTL = 30 * time.Second
	// maxRevisions is the maximum number of revisions that are remembered, and maxBytes their
	// approximate size, because tenants choose the texts. If there are more, the namespace that has
	// most loses the revision that it has not used for the longest time.
	maxRevisions = 10_000
	maxBytes     = 16 << 20
	// listTimeout is the maximum time for one list, including the wait in a queue: as long as the API
	// server waits for a review. A list that has begun goes on after the pod that started it gave up,
	// because the pod may be created again. One that waits ends, since it holds what the pod runs.
	listTimeout = 10 * time.Second
	// retryAfter is the time between the end of a list that failed and the next list.
	retryAfter = time.Second
	// refreshTimeout is how long a pod waits for a list if every digest that it needs is already known
	// from an older list.
	refreshTimeout = 2 * time.Second
	// maxTexts is the maximum number of texts that are remembered of one revision, besides those that
	// the last list was for.
	maxTexts = 128
)

// Siblings finds out what the pods of revisions run, and remembers it. The fields must not change
// after the first call. It is safe for concurrent use.
type Siblings struct {
	// List lists pods. Required.
	List List
	// Queue is a queue that Places has made. Required.
	Queue *fair.Queue
	// Policy says which texts the pins of a pod were made for. Required.
	Policy *policy.Policy
	// RevisionLabels are the names of more labels that tell the revisions of a controller apart, in
	// order of precedence, after the built-in ones. The Table that scans the pods must keep them.
	RevisionLabels []string
	// TTL is how long the result of a list is remembered. It should be short: a revision that is
	// scaled to zero and up again may run another digest, which another replica resolved. It is also
	// how long a digest is remembered after Record if no list shows its pod, because the pod may never
	// have been stored. Default: 30 s.
	TTL time.Duration
	// Metrics counts the lists. If nil, they are not counted.
	Metrics *Metrics
	// Panics reports panics that occur while pods are parsed. Tenants write the pods. The callers that
	// wait for such a list get an error. If nil, panics are not reported.
	Panics *panics.Reporter

	once  sync.Once
	known cache.Memory[Revision, record]
	lists cache.Flights[Revision, shared]
	tries cache.Memory[try, time.Time]
}

// Running is what is known about the siblings of a pod.
type Running struct {
	// Digests are the digests that the siblings run, by text.
	Digests map[string]digest.Digest
	// First is true if no sibling runs the texts that have no digest: the pod is the first one.
	First bool
	// Err is the reason why it is not known whether a sibling runs the texts that have no digest. They
	// must not be resolved then. It may contain addresses, which a tenant must not see.
	//
	// If Err is nil and First is false, a sibling may run these texts but can't be listed: tagpin may
	// not list pods, or there are too many. They are then resolved as for any other pod.
	Err error
}

// hasAll reports whether m has every text.
func hasAll[V any](m map[string]V, texts []string) bool {
	return !slices.ContainsFunc(texts, func(text string) bool { _, ok := m[text]; return !ok })
}

// Close cancels the lists that are under way and waits for them. Later calls make no list.
func (s *Siblings) Close() { s.lists.Close() }
