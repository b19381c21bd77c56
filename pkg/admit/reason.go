// SPDX-License-Identifier: Apache-2.0

package admit

// reason says in a word why an object was denied, or why it was not reviewed, which in dry-run mode
// admits it. The log has it, so that an operator finds out without the denial, which only the
// sender reads.
type reason string

const (
	byLookup      reason = "lookup"      // an image could not be resolved
	byLength      reason = "too-long"    // a reference is too long to be pinned
	byPlaceholder reason = "placeholder" // no injector has replaced a placeholder

	// There was no room in a queue, which has this name in the metrics too.
	byReviews reason = "reviews"
	byImages  reason = "images"
	bySlow    reason = "slow-reviews"

	bySize    reason = "too-large"  // the review has too many bytes
	byContent reason = "unreadable" // the review or its object can't be read
	byBug     reason = "bug"        // a panic

	// The registration has a kind that the config does not have. The object is admitted in any mode.
	byKind reason = "unknown-kind"
)
