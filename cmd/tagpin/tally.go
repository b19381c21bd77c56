// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/tagpin/tagpin/pkg/policy"

// tally counts the images of files by what becomes of them, for the summary of a command.
type tally struct {
	open    int // they are not pinned, and could be
	pinned  int // they were pinned before
	exempt  int // the config exempts them
	never   int // no kubelet pulls them
	short   int // they name no host, and the config leaves them alone
	alone   int // they are in an object that is left alone, such as one of a controller
	left    int // they can't be pinned where they are
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

// images returns the number of the images that were looked at.
func (n *tally) images() int {
	return n.open + n.pinned + n.exempt + n.never + n.short + n.alone
}

// parts returns the parts of a summary for the images that stay as they are without a digest, and
// for files.
func (n *tally) parts() []string {
	return some(
		amount{n.exempt, "is exempt", "are exempt"},
		amount{n.never, "is never pulled", "are never pulled"},
		amount{n.short, "names no registry host", "name no registry host"},
		amount{n.alone, "is in an object that is left alone", "are in objects that are left alone"},
		amount{n.left, "can't be pinned", "can't be pinned"},
		amount{n.ignored, "is ignored", "are ignored"},
		amount{n.skipped, "file was skipped", "files were skipped"},
		amount{n.dropped, "file was not printed", "files were not printed"},
	)
}

// amount is a number, and the words that follow it if it is 1, or larger.
type amount struct {
	n            int
	one, several string
}

// some returns the texts of the amounts that are not zero.
func some(amounts ...amount) (texts []string) {
	for _, a := range amounts {
		if a.n > 0 {
			texts = append(texts, plural(a.n, a.one, a.several))
		}
	}
	return texts
}
