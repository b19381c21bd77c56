// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"slices"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/workload"
)

// job is a question of one namespace. lookups.mu guards what changes in it, except for guesses.
type job struct {
	question   *question
	namespace  string
	ask        askFunc
	subjects   []*subject
	identities []workload.Identity
	tried      int // identities that need not be tried again
	// guesses counts for Auditor.Wait with the present identity. It needs no lock, since only one
	// goroutine asks a question at a time.
	guesses  int
	failed   error       // what counts most of those that were tried
	finished bool        // there is an answer, or none with any identity
	timer    *time.Timer // until it is asked again
}

// addIdentities adds identities whose credentials may be tried.
func (j *job) addIdentities(identities []workload.Identity) {
	for _, id := range identities {
		if len(j.identities) < maxIdentities && !slices.ContainsFunc(j.identities, id.Equal) {
			j.identities = append(j.identities, id)
		}
	}
}

func (j *job) stopTimer() {
	if j.timer != nil {
		j.timer.Stop()
		j.timer = nil
	}
}

// fails stores why a job has failed with its present identity, and reports whether the job has
// failed with all. An answer that there is no such image counts more than a refusal.
func (j *job) fails(err error) bool {
	class := failure.Of(err)
	if j.failed == nil || class != failure.Unauthorized {
		j.failed = err
	}
	j.tried++
	j.guesses = 0
	if class != failure.Unauthorized && class != failure.NotFound { // others would fail too
		j.tried = len(j.identities)
	}
	return j.tried == len(j.identities)
}
