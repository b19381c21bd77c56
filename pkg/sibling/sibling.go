// SPDX-License-Identifier: Apache-2.0

// Package sibling knows what the pods of one owner revision run, so that a new one runs the same.
//
// A revision is a controller's UID and the label by which the controller tells its revisions apart:
// controller-revision-hash, pod-template-hash, rollouts-pod-template-hash, for a Job
// batch.kubernetes.io/controller-uid, or one that the config names. A ReplicaSet or
// ReplicationController is a revision by its UID alone.
//
// Its pods are asked of the API server by one list, which is remembered: what is running is the
// same for every replica of the webhook, and after its restart. The list is narrowed by the label.
// The pods of a ReplicaSet or ReplicationController without one are found among all pods of the
// namespace: the selector would narrow that, but to read it takes another call and another
// permission, and to the API server, which has no index of labels, both lists cost the same.
//
// Only what a pod's spec runs is believed. A pod that finds no sibling has them listed anew:
// another replica may have made the first one meanwhile. If the API server does not answer, a pod
// is not taken for the first one.
//
// It resolves nothing: which digest the first pod of a revision gets is its caller's to say, and to tell (Decide).
package sibling

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	defaultTTL     = 30 * time.Second
	defaultSize    = 10_000
	defaultBytes   = 16 << 20
	defaultTimeout = 10 * time.Second
	// retryAfter is how long a list that failed holds, from its end on.
	retryAfter = time.Second
	// patience is how long a pod waits for a list where what was known before will do.
	patience = 2 * time.Second
	// maxTexts bounds what is remembered of one revision.
	maxTexts = 128
)

// Siblings remembers what revisions run. It is safe for concurrent use; its fields are set before its first use.
type Siblings struct {
	// Lister lists pods. Required.
	Lister Lister
	// Policy tells for which text a pin was made.
	Policy *policy.Policy
	// RevisionLabels are names of further labels that tell the revisions of a controller apart, in the
	// order in which they are looked for, after the built-in ones. Pods are to be scanned by a Table
	// that keeps them. Default: none.
	RevisionLabels []string
	// TTL is how long a list is remembered: a revision that was scaled to nothing and back may run another digest then, which
	// another replica has resolved. It is also how long a decision is whose pod no list has shown: it may never have been
	// stored. Default: 30 s.
	TTL time.Duration
	// Size is how many revisions are remembered. If there are more, the namespace with most of them
	// loses its oldest one. Default: 10,000.
	Size int
	// Bytes is about how many bytes what is remembered may hold: texts are a tenant's. The same holds
	// for these. Default: 16 MiB.
	Bytes int
	// Timeout of one list with the wait for its turn. It outlives the pod that it was begun for, which may come again. Default:
	// 10 s, as long as the API server waits for the answer to a review.
	Timeout time.Duration
	// Metrics counts the lists. Nil: none.
	Metrics *Metrics
	// Panics is told of panics while pods are read, which tenants wrote. To those who wait, such a
	// list gave no answer. Default: nobody is told.
	Panics *panics.Reporter

	once  sync.Once
	known cache.Memory[Revision, knowledge]
	lists cache.Flights[Revision, list]
}

// Running returns what the oldest siblings of a pod that is to be created run for each of some texts, as far as any do. first
// says that none runs the others. Where neither that is so nor there is an error, there may be siblings that are not told:
// the pod is of no revision, the API server forbids the list, or there are more pods than 1,000. The error says that it gave no
// answer in time; what was known before holds all the same.
//
// It costs one list a revision while that is remembered, and none for a pod without a revision. decides says that what is
// missing will be decided: then no list will do that had ended before.
func (s *Siblings) Running(ctx context.Context, namespace string, pod *workload.Object, texts []string, decides bool) (running map[string]digest.Digest, first bool, err error) {
	r, ok := RevisionOf(namespace, pod, s.RevisionLabels)
	if !ok {
		return nil, false, nil
	}
	for anew := false; ; anew = true {
		k, from, err := s.learn(ctx, r, texts, anew)
		running = s.running(&k, texts)
		switch {
		case !lacks(running, texts):
			return running, false, nil
		case apierrors.IsForbidden(err):
			return running, false, nil
		case err != nil:
			return running, false, err
		case !decides || from == begun || from == joined && !k.cut:
			return running, !k.cut, nil
		}
	}
}

// lacks tells whether one of the texts is missing.
func lacks(known map[string]digest.Digest, texts []string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return known[text] == "" })
}

// Decide tells which digest the first pod of a revision gets for a text, and returns it, or the one that another pod of
// the revision has got meanwhile.
func (s *Siblings) Decide(namespace string, pod *workload.Object, text string, d digest.Digest) digest.Digest {
	r, ok := RevisionOf(namespace, pod, s.RevisionLabels)
	if !ok {
		return d
	}
	s.once.Do(s.init)
	return s.decide(r, text, d)
}

// Close cancels the lists in flight and waits for them. Afterwards nothing more is listed.
func (s *Siblings) Close() { s.lists.Close() }
