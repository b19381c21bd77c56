// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/tagpin/tagpin/pkg/amount"
	"github.com/tagpin/tagpin/pkg/policy"
)

// tally counts the images of files by what becomes of them, for the summary of a command.
type tally struct {
	open    int // they are not pinned, and could be
	pinned  int // they were pinned before
	exempt  int // the config exempts them
	never   int // no kubelet pulls them
	short   int // they name no host, and the config leaves them alone
	alone   int // they are in an object that is left alone, such as one of a controller
	left    int // they can't be pinned where they are, or their texts are no references
	ignored int // they have the comment tagpin:ignore
	skipped int // files that could not be parsed
	dropped int // files that are not printed
}

// tally returns a tally with what is known before the images are looked at.
func (s *sources) tally() *tally {
	n := &tally{skipped: s.skipped, dropped: s.dropped}
	for _, file := range s.files {
		n.ignored += file.file.Ignored
	}
	return n
}

// add counts an image that stays as it is for a reason.
func (n *tally) add(reason policy.Reason) {
	switch reason {
	case policy.Pinned:
		n.pinned++
	case policy.Exempt:
		n.exempt++
	case policy.NeverPull:
		n.never++
	case policy.ShortName:
		n.short++
	case policy.Invalid:
		n.left++
	}
}

// images returns the number of the images that tagpin check has looked at.
func (n *tally) images() int {
	return n.open + n.pinned + n.exempt + n.never + n.short
}

// parts returns the parts of a summary for the images that stay as they are without a digest, and
// for files. cannot says what was not done with those that can't be pinned where they are: of one,
// and of several.
func (n *tally) parts(cannot, severalCannot string) []string {
	return some(
		quantity{n.exempt, "is exempt", "are exempt"},
		quantity{n.never, "is never pulled", "are never pulled"},
		quantity{n.short, "names no registry host", "name no registry host"},
		quantity{n.alone, "is in an object that is left alone", "are in objects that are left alone"},
		quantity{n.left, cannot, severalCannot},
		quantity{n.ignored, "is ignored", "are ignored"},
		quantity{n.skipped, "file was skipped", "files were skipped"},
		quantity{n.dropped, "file was not printed", "files were not printed"},
	)
}

// quantity is a number, and the words that follow it if it is 1, or larger.
type quantity struct {
	n            int
	one, several string
}

// some returns the texts of the parts that are not zero.
func some(parts ...quantity) (texts []string) {
	for _, p := range parts {
		if p.n > 0 {
			texts = append(texts, amount.Text(p.n, p.one, p.several))
		}
	}
	return texts
}
