// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"github.com/tagpin/tagpin/pkg/annotation"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Policy holds the settings of the rules. The zero value pins every tag and keeps it in the text.
type Policy struct {
	// Output is how a pin is written. Default: the author's text and the digest.
	Output Output
	// Exempt are images to leave alone, by canonical name. Default: none.
	Exempt []Pattern
	// LeaveShortNames leaves references alone whose text names no host. By default they are on Docker
	// Hub.
	LeaveShortNames bool
	// SkipOwners are controllers whose objects are left alone on creation, because they compare the
	// image texts of their pods. Default: none.
	SkipOwners []SkipOwner
	// IgnoreRestart makes kubectl rollout restart keep the pins. By default it refreshes them.
	IgnoreRestart bool
}

// Mode says what to do with references that are not pinned. Each mode keeps the pins that an object
// already has.
type Mode int

// The modes.
const (
	Enforce Mode = iota // pin the references
	Propose             // only propose pins; it is written dry-run
	Keep                // make no new pins, for a namespace that is leaving tagpin
)

// Modes returns all modes.
func Modes() []Mode { return []Mode{Enforce, Propose, Keep} }

// String returns the mode as it is written in the namespace label and in the webhook's path.
func (m Mode) String() string { return [...]string{"enforce", "dry-run", "keep"}[m] }

// Operation is what a request does with the object.
type Operation string

// The operations that can bring a new reference.
const (
	Create Operation = "CREATE"
	Update Operation = "UPDATE"
)

// Input is one object, and what the rules need to know about the request.
type Input struct {
	Operation Operation
	Mode      Mode
	User      string           // the name of the user, as the API server authenticated it
	Node      bool             // the user is a node: a member of the group system:nodes
	Object    *workload.Object // the new object
	Old       *workload.Object // the object that is replaced; nil on Create
}

// Plan says what to do with an object.
type Plan struct {
	// Skipped is the reason to leave the whole object alone (rule 1), or "". If it is set, the rest is
	// empty.
	Skipped Reason
	// Decisions has one decision for each reference, in document order.
	Decisions []Decision
	// PodSpecs has what is known about the annotations of each pod spec, in document order. Their
	// Images are nil, because each is in a decision.
	PodSpecs []annotation.PodSpec
}

// Action says what to do with a reference.
type Action int

// The actions.
const (
	Leave   Action = iota // leave it as it is
	Restore               // put the old pin back
	Resolve               // look its tag up or, if Reason is SameText, take the digest of Held
)

// Reason is why an action was chosen, as a word for logs and metrics. The set is closed.
type Reason string

// The reasons about one reference.
const (
	Unchanged  Reason = "unchanged"   // the text is the old one
	Pinned     Reason = "author"      // its author wrote a digest
	Sticky     Reason = "sticky"      // the text is the one that the old pin was made for
	NeverPull  Reason = "never-pull"  // the kubelet does not pull it
	Blank      Reason = "blank"       // there is no text
	Invalid    Reason = "bad-text"    // the kubelet refuses the text
	TooLong    Reason = "too-long"    // the text is too long to be looked up: the lookup fails
	Exempt     Reason = "exempt"      // the config exempts it
	ShortName  Reason = "short-name"  // the text names no host, and the config leaves such names alone
	Unreplaced Reason = "placeholder" // workload.Placeholder in a Pod, which package admit denies
	Tag        Reason = "tag"         // a tag to look up
	Refresh    Reason = "refresh"     // a tag to look up, because a marker has changed
	SameText   Reason = "kept"        // the same text is pinned elsewhere in the object
	NoNewPins  Reason = "keep"        // a tag, in the mode Keep
)

// The reasons to skip a whole object.
const (
	Deleting   Reason = "deleting"    // it is being deleted
	Mirror     Reason = "mirror"      // it is the API server's copy of a static pod
	Controlled Reason = "controlled"  // its controller compares it with a template of its own
	SkipOwned  Reason = "skip-owners" // the config's skipOwners names its owner and the user
)

// Decision is what to do with one reference.
type Decision struct {
	annotation.Image // for Resolve with Refresh, Parsed is the text without the old digest

	PodSpec int // index in Object.PodSpecs
	// Field is true for an image field. If its text can't be parsed, however long it is, it may have a
	// variable, which the kind's controller replaces in the pods.
	Field  bool
	Action Action
	Reason Reason
	// Held is a pin, if there is one:
	//   - for Restore, the old pin, which is to be put back;
	//   - for Leave with Pinned or Unchanged, the pin that stays;
	//   - for Resolve with SameText, the pin whose digest is to be taken;
	//   - for Resolve with Refresh, the pin to keep if the lookup fails.
	Held ref.Reference
	// Marker is, for Resolve with Refresh, the annotation that asks for the refresh. If several do, it
	// is AnnotationRefresh: a failed lookup has stricter consequences there.
	Marker string
	// Before is, for Leave with Pinned, the text that the digest stood for in the old object, if the
	// author has changed the tag but not the digest. Both tags may name one image; the registry was
	// not asked.
	Before ref.Reference
}
