// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/tagpin/tagpin/pkg/amount"
	"github.com/tagpin/tagpin/pkg/manifest"
	"github.com/tagpin/tagpin/pkg/workload"
)

// hints counts images in kinds that are not known. What to do about a kind is said once in a run: a
// file may have hundreds of images in one kind. It is said twice if there are images for certain as
// well as others.
type hints struct {
	counts map[hint]int
	// paths are those of all images of a kind in all files of the run: the config can have a kind only
	// once.
	paths   map[workload.Kind][]string
	program string // its name in advice
}

type hint struct {
	kind    workload.Kind
	instead string // what else can be done about the images
}

// newHints returns hints about images in some files.
func newHints(files []*source, program string) hints {
	h := hints{map[hint]int{}, map[workload.Kind][]string{}, program}
	for _, file := range files {
		for kind, paths := range file.file.Unknown {
			h.paths[kind] = append(h.paths[kind], paths...)
		}
	}
	return h
}

// count counts an image, if there is a hint for it.
func (h hints) count(l manifest.Left) {
	if l.Kind.Kind != "" {
		h.counts[hint{l.Kind, l.Instead}]++
	}
}

// take returns the hint for an image with the number of the other images, as words that follow the
// reason, or "" if it was taken before.
func (h hints) take(l manifest.Left) (words string) {
	of := hint{l.Kind, l.Instead}
	n := h.counts[of]
	if n == 0 {
		return ""
	}
	delete(h.counts, of)
	if n > 1 {
		words = ", as for " + amount.Of(n-1, "more image")
	}
	return words + "; " + l.Advice(h.paths[l.Kind]) + "; see " + h.program + " help kinds"
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
	if more == "" && l.Kind.Kind != "" {
		return nil
	}
	return fmt.Errorf("%s: %s was not %s: %s%s",
		place(file, l.Line, l.Column), l.Text, done, l.Why, more)
}
