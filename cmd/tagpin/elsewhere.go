// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/tagpin/tagpin/pkg/amount"
	"github.com/tagpin/tagpin/pkg/manifest"
)

// outside is what Kustomizations in folders name and tagpin does not read, because it is outside of
// the argument.
type outside struct {
	references []reference
	known      map[string]bool // the targets of references
}

// reference is a text in a Kustomization that names a file or a folder.
type reference struct {
	file, text, target string
	argument           string // the folder whose Kustomizations were followed
}

// add adds a reference, unless there is one to the same target.
func (o *outside) add(r reference) {
	if o.known == nil {
		o.known = map[string]bool{}
	}
	if !o.known[r.target] {
		o.known[r.target] = true
		o.references = append(o.references, r)
	}
}

// complainElsewhere prints messages about images that may be where tagpin does not look, each once
// in a run: a repository may have hundreds of charts.
func (f *fileFlags) complainElsewhere(s *sources, t terminal) {
	var bases []reference
	for _, r := range s.outside.references {
		if !f.covers(r.target) {
			bases = append(bases, r)
		}
	}
	if len(bases) > 0 {
		r := bases[0]
		t.complain(fmt.Errorf("%s names %s, which is outside of %s and was not read%s; "+
			"name it as an argument too", r.file, r.text, r.argument, others(len(bases), "more path")))
	}
	complainExternal(s, false, "the chart %s was not read%s, so tagpin sees no images that it "+
		"chooses itself; to see them: helm template … | %s check", "more chart", t)
	complainExternal(s, true, "the base %s was not read%s, so tagpin does not see its images; "+
		"to see them: kustomize build … | %s check", "more base", t)
}

// covers reports whether an argument is a file or a folder, or a folder above it. The path is
// without links.
func (f *fileFlags) covers(path string) bool {
	for argument := range f.argumentPaths {
		if isWithin(realPath(argument), path) {
			return true
		}
	}
	return false
}

// complainExternal prints a message about the first chart or base that files name and other
// programs fetch, with the number of the others.
func complainExternal(s *sources, base bool, format, more string, t terminal) {
	n, first, in := 0, manifest.External{}, ""
	for _, file := range s.all {
		if file.err != nil {
			continue
		}
		for _, e := range file.file.External {
			if e.Base != base {
				continue
			}
			if n++; n == 1 {
				first, in = e, file.file.Name
			}
		}
	}
	if n > 0 {
		t.complain(fmt.Errorf("%s: "+format, place(in, first.Line, first.Column), first.Name,
			others(n, more), t.program))
	}
}

// others returns words for all of some things but the first one, or "".
func others(n int, more string) string {
	if n == 1 {
		return ""
	}
	return ", like " + amount.Of(n-1, more)
}
