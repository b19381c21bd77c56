// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// place returns a place in a file as compilers write it.
func place(name string, line, column int) string {
	return fmt.Sprintf("%s:%d:%d", name, line, column)
}

// stays reports whether the policy leaves an image as it is, and counts it then. If its text is no
// valid reference, stays prints a message, in which undone says what was not done with it.
func (n *tally) stays(d policy.Decision, at, undone string, t terminal) bool {
	if d.Action == policy.Resolve {
		return false
	}
	n.add(d.Reason)
	if d.Reason == policy.Invalid {
		t.complain(invalid(d, at, undone))
	}
	return true
}

// invalid returns what to say about a text that is no valid reference. undone says what was not
// done with it.
func invalid(d policy.Decision, at, undone string) error {
	return fmt.Errorf("%s: %w; it was not %s", at, d.ParseErr, undone)
}

// inOwned is why tagpin pin leaves the images of an object that has a controller: that would notice
// that they differ from its own template. A file can say so of any object.
const inOwned = "its object has a controller in metadata.ownerReferences, whose template has the " +
	"image; pin that one, and remove this object from the file or its ownerReferences"

// decideUnowned decides about an object as if it had no controller.
func decideUnowned(o *workload.Object, rules *policy.Policy) policy.Plan {
	copied := *o
	copied.Metadata.Controller = workload.Owner{}
	return rules.Decide(policy.Input{Operation: policy.Create, Object: &copied})
}

// decide decides about a reference that is in no object.
func decide(text string, rules *policy.Policy) policy.Decision {
	return rules.Decide(policy.Input{Operation: policy.Create, Object: &workload.Object{
		Custom:   true,
		PodSpecs: []workload.PodSpec{{References: []workload.Reference{{Text: text}}}},
	}}).Decisions[0]
}
