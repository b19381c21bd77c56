// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/tagpin/tagpin/pkg/amount"
	"github.com/tagpin/tagpin/pkg/manifest"
)

// hints counts images that are left for the same reason and have the same hint, which is given once
// in a run: a file may have hundreds of images in one kind that is not known.
type hints map[hint]int

type hint struct{ why, text string }

func hintOf(l manifest.Left) hint { return hint{l.Why, l.Hint} }

// count counts an image, if it has a hint.
func (h hints) count(l manifest.Left) {
	if l.Hint != "" {
		h[hintOf(l)]++
	}
}

// take returns the hint for an image with the number of the other images, as words that follow the
// reason, or "" if it was taken before.
func (h hints) take(l manifest.Left) (words string) {
	n := h[hintOf(l)]
	if n == 0 {
		return ""
	}
	delete(h, hintOf(l))
	if n > 1 {
		words = ", as for " + amount.Of(n-1, "more image")
	}
	return words + "; " + l.Hint
}

// countAll counts the images of files that are left, of those that are wanted.
func (h hints) countAll(files []*source, wanted func(manifest.Left) bool) {
	for _, file := range files {
		for _, l := range file.file.Left {
			if wanted(l) {
				h.count(l)
			}
		}
	}
}

// message returns what to say about an image of a file that was not checked or not pinned, which
// done says. It returns nil if the message about another image counts this one.
func (h hints) message(file, done string, l manifest.Left) error {
	more := h.take(l)
	if more == "" && l.Hint != "" {
		return nil
	}
	return fmt.Errorf("%s: %s was not %s: %s%s",
		place(file, l.Line, l.Column), l.Text, done, l.Why, more)
}
