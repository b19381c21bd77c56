// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/tagpin/tagpin/pkg/manifest"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Edited tags are found in three steps. readBase reads what the commit has of the files that have
// pins now. addMoved adds files that have none now, or that the work tree no longer has, if a
// digest is at a new place. editedTags then returns the pins whose digest was there before with
// another tag: of the same container, or of one that is gone.

// pinCounts is how many pins there are with the same repository, tag and digest.
type pinCounts map[string]int

func (n pinCounts) add(pins []filePin) {
	for _, p := range pins {
		n[p.id()]++
	}
}

// comparison compares the pins of a run with those that a commit has.
type comparison struct {
	baseline
	now, was pinCounts // of all files
	old      []filePin // those that was counts
}

// newComparison compares files with what they were in the commit.
func newComparison(files []*source, base baseline) *comparison {
	c := comparison{baseline: base, now: pinCounts{}, was: pinCounts{}}
	for _, s := range files {
		if s.err == nil {
			c.now.add(pinsOf(s.file))
			c.add(base.pins[s])
		}
	}
	return &c
}

// add adds pins that the commit has.
func (c *comparison) add(pins []filePin) {
	c.was.add(pins)
	c.old = append(c.old, pins...)
}

// gone returns the pins of which the files have fewer than the commit, by withoutTag.
func (c *comparison) gone() map[string]ref.Reference {
	gone := map[string]ref.Reference{}
	for _, p := range c.old {
		if id := p.id(); c.now[id] < c.was[id] {
			gone[p.withoutTag()] = p.Reference
		}
	}
	return gone
}

// editedTags returns the pins of a file whose tag has changed since the commit, while their digest
// has stayed: of the same container, or of one that is no longer there, in any file.
func (c *comparison) editedTags(
	s *source, gone map[string]ref.Reference, renew renewals,
) (found []finding) {
	inFile, at := pinCounts{}, map[site]filePin{}
	inFile.add(c.pins[s])
	for _, p := range c.pins[s] {
		at[p.site] = p
	}
	for _, p := range pinsOf(s.file) {
		same, edited := at[p.site]
		old := same.Reference
		edited = edited && same.withoutTag() == p.withoutTag() && inFile[p.id()] == 0
		if !edited && s.path != "" && !c.unread[s] && c.was[p.id()] == 0 {
			old, edited = gone[p.withoutTag()]
		}
		if edited {
			found = append(found, finding{
				File: s.file.Name, Line: p.line, Column: p.column, Rule: ruleEditedTag, Image: p.text,
				Message: fmt.Sprintf("%s has the digest of the tag %s, which was there before; %s",
					p.text, old.Tag(), renew.of(s, p)),
			})
		}
	}
	return found
}

// plainText matches a text that every shell takes as it is.
var plainText = regexp.MustCompile(`^[\w./@%+:,-]+$`)

// shellWord returns a text as a word for a shell. The path of a file is no flag then.
func shellWord(path string) string {
	if strings.HasPrefix(path, "-") {
		path = "./" + path
	}
	return shellText(path)
}

// shellText returns a text for a shell, as a word or as a part of one.
func shellText(text string) string {
	if plainText.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// site is what a pin is for, in all versions of a file.
type site struct {
	kind            workload.Kind
	namespace, name string // of the object
	spec, container string // the key of the pod spec, and the name in it
	n               int    // numbers the pins that are otherwise the same
}

// filePin is a pin with a tag in a file.
type filePin struct {
	ref.Reference
	site

	text         string
	line, column int
	object       *manifest.Object // nil if tagpin pin leaves the image
	is           workload.Reference
}

// id returns the repository, the tag and the digest.
func (p filePin) id() string { return p.Canonical() }

// withoutTag returns the repository and the digest, which stay when a tag is edited.
func (p filePin) withoutTag() string { return p.WithoutTag().Canonical() }

// pinsOf returns the pins with tags of a file.
func pinsOf(f *manifest.File) (pins []filePin) {
	seen := map[site]int{}
	type position struct{ line, column int }
	known := map[position]bool{}
	add := func(at site, p filePin) {
		seen[at]++
		at.n = seen[at]
		var ok bool
		if p.Reference, ok = taggedPin(p.text); ok && !known[position{p.line, p.column}] {
			p.site = at
			pins = append(pins, p)
		}
	}
	for _, o := range f.Objects {
		for _, spec := range o.PodSpecs {
			for _, r := range spec.References {
				line, column := o.Position(r)
				add(site{o.Kind, o.Metadata.Namespace, o.Metadata.Name, spec.Key, r.Name, 0},
					filePin{text: r.Text, line: line, column: column, object: o, is: r})
			}
		}
	}
	for _, p := range pins { // a file can have an image in two formats
		known[position{p.line, p.column}] = true
	}
	for _, p := range f.Pinned {
		add(site{container: p.Pointer}, filePin{text: p.Text, line: p.Line, column: p.Column})
	}
	return pins
}

// withoutObjects returns pins that are only to be compared. They keep no tree in memory.
func withoutObjects(pins []filePin) []filePin {
	for i := range pins {
		pins[i].object, pins[i].is = nil, workload.Reference{}
	}
	return pins
}

// taggedPin parses a reference. ok is false if it does not have both a tag and a digest.
func taggedPin(text string) (r ref.Reference, ok bool) {
	if !strings.Contains(text, "@") {
		return r, false
	}
	r, err := ref.Parse(text)
	return r, err == nil && r.Tagged() && r.Pinned()
}
