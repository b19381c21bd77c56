// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/printable"
)

const (
	// maxWarning and maxWarnings are the greatest sizes of one warning and of all of them, in
	// characters. If all warnings of a request together have more than maxWarnings, those of other
	// webhooks included, the API server cuts each to maxWarning and drops the last ones
	// (k8s.io/apiserver/pkg/endpoints/filters/warning.go).
	maxWarning  = 256
	maxWarnings = 4096
	// minImage is what is left of an image in a warning that is too long.
	minImage = 48
	// maxDenial is the greatest size of a denial in bytes. Controllers write it into events and into
	// the status of their objects, again and again.
	maxDenial = 4096
)

// warnings are shown by the API server to the client that sent the request.
type warnings struct {
	list []string
	size int
}

// image is an image in a warning. If the warning is too long, its middle is left out: the registry
// and the tag are at the ends.
type image string

// add adds a warning.
func (w *warnings) add(format string, args ...any) {
	s := brief(format, args)
	if w.size += utf8.RuneCountInString(s); w.size > maxWarnings {
		return
	}
	w.list = append(w.list, s)
}

// warn adds a warning about one reference.
func (b *builder) warn(o *pin.Outcome, format string, args ...any) {
	b.warnings.add("%s: "+format, append([]any{describeName(o)}, args...)...)
}

// message formats a text for whoever applies an object, which may have been written by somebody
// else. A terminal must not obey what is in it, nor must what runs a pipeline.
func message(format string, args ...any) string {
	return printable.Text(fmt.Sprintf(format, args...))
}

// brief formats a warning of at most maxWarning characters. It cuts the images first, and then the
// end.
func brief(format string, args []any) string {
	s := message(format, args...)
	size := utf8.RuneCountInString(s)
	if size <= maxWarning {
		return s
	}
	images, room := 0, maxWarning-size
	for _, arg := range args {
		if text, ok := arg.(image); ok {
			images++
			room += len(text) // which is ASCII, or else room is too large and the end is cut
		}
	}
	args = slices.Clone(args)
	for i, arg := range args {
		if text, ok := arg.(image); ok {
			args[i] = cutMiddle(string(text), max(room/images, minImage))
		}
	}
	runes := []rune(message(format, args...))
	if len(runes) <= maxWarning {
		return string(runes)
	}
	return string(runes[:maxWarning-1]) + more
}

// cutMiddle leaves out the middle of a text of ASCII that has more than size characters.
func cutMiddle(text string, size int) string {
	if len(text) <= size {
		return text
	}
	end := size / 2
	return text[:size-1-end] + more + text[len(text)-end:]
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

// more stands for what was cut.
const more = "…"

// truncate cuts s to at most size bytes, between two characters.
func truncate(s string, size int) string {
	if len(s) <= size {
		return s
	}
	n := size - len(more)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + more
}
