// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"fmt"

	"github.com/tagpin/tagpin/pkg/pin"
)

// unreplaced is a placeholder in a Pod. No registry is asked for it, since nobody here has chosen
// what it would answer.
func (a *answer) unreplaced(o *pin.Outcome) {
	sentence := describePlaceholder(o)
	switch a.mode {
	case pin.Enforce:
		a.denials = append(a.denials, sentence)
	case pin.DryRun:
		a.warnings.add(sentence)
	case pin.Keep: // which makes no pins
	}
}

func describePlaceholder(o *pin.Outcome) string {
	return fmt.Sprintf("%s: no injector has replaced the placeholder %s; check that the injector "+
		"selects this pod, and that the name of its webhook configuration sorts before zz-tagpin",
		place(o.Reference.Name), o.Reference.Text)
}
