// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tagpin/tagpin/pkg/pin"
)

const (
	// maxWarning and maxWarnings are the greatest sizes of one warning and of all of them, in bytes.
	// The API server truncates or drops what is longer
	// (k8s.io/apiserver/pkg/endpoints/filters/warning.go).
	maxWarning  = 256
	maxWarnings = 4096
	// maxDenial is the greatest size of a denial in bytes. Controllers write it into events and into
	// the status of their objects, again and again.
	maxDenial = 4096
)

// warnings are shown by the API server to the client that sent the request.
type warnings struct {
	list []string
	size int
}

func (w *warnings) add(s string) {
	s = truncate(s, maxWarning)
	if w.size += len(s); w.size > maxWarnings {
		return
	}
	w.list = append(w.list, s)
}

// warn adds a warning about one reference.
func (a *answer) warn(o *pin.Outcome, format string, args ...any) {
	a.warnings.add(describeName(o) + ": " + fmt.Sprintf(format, args...))
}

// sentences joins the sentences of a denial. If there are too many, it says how many are left out.
func sentences(list []string) string {
	var b strings.Builder
	for i, s := range list {
		s = truncate(s, maxDenial/2)
		if i > 0 && b.Len()+len(s) > maxDenial {
			fmt.Fprintf(&b, "; and %d more", len(list)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(s)
	}
	return b.String()
}

// truncate cuts s to at most size bytes, between two characters.
func truncate(s string, size int) string {
	if len(s) <= size {
		return s
	}
	const more = "…"
	n := size - len(more)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + more
}
