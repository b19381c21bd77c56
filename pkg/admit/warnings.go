// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"fmt"
	"unicode/utf8"

	"github.com/tagpin/tagpin/pkg/pin"
)

// Limits of the API server: what is longer it cuts itself, or drops (k8s.io/apiserver/pkg/endpoints/filters/warning.go).
const (
	maxWarning  = 256  // bytes of one warning
	maxWarnings = 4096 // bytes of all
)

// warnings are what a person should know. The API server shows each one to the client that sent the request.
type warnings struct {
	list []string
	size int
}

func (w *warnings) add(s string) {
	s = truncate(s)
	if w.size += len(s); w.size > maxWarnings {
		return
	}
	w.list = append(w.list, s)
}

// warn adds a warning about one reference.
func (a *answer) warn(o *pin.Outcome, format string, args ...any) {
	a.warnings.add(place(o.Reference.Name) + ": " + fmt.Sprintf(format, args...))
}

// truncate cuts s to at most maxWarning bytes.
func truncate(s string) string { return truncateTo(s, maxWarning) }

// truncateTo cuts s to at most so many bytes, at the border of a character.
func truncateTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	const more = "…"
	n := most - len(more)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + more
}
