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

// editedTags returns the pins whose tag has changed since an earlier content of the file, while
// their digest has stayed: of the same container, or of one that the file no longer has. If before
// is nil, editedTags returns nil.
func editedTags(s *source, before *manifest.File, renew renewals) (found []finding) {
	if before == nil {
		return nil
	}
	pins := pinsOf(s.file)
	now := map[string]bool{}
	for _, p := range pins {
		now[p.Canonical()] = true
	}
	was := map[string]bool{}
	at := map[site]ref.Reference{}
	gone := map[string]ref.Reference{} // pins that the file has no longer, by what stays in an edit
	for _, p := range pinsOf(before) {
		was[p.Canonical()], at[p.site] = true, p.Reference
		if !now[p.Canonical()] {
			gone[p.WithoutTag().Canonical()] = p.Reference
		}
	}
	for _, p := range pins {
		digest := p.WithoutTag().Canonical()
		old, edited := at[p.site]
		if !edited || old.WithoutTag().Canonical() != digest {
			old, edited = gone[digest]
		}
		if !edited || was[p.Canonical()] {
			continue
		}
		line, column := p.object.Position(p.is)
		found = append(found, finding{
			File: s.file.Name, Line: line, Column: column, Rule: ruleEditedTag, Image: p.is.Text,
			Message: fmt.Sprintf("%s has the digest of the tag %s, which was there before; %s",
				p.is.Text, old.Tag(), renew.of(s, p)),
		})
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
	n               int    // counts those that are the same but for that
}

// filePin is a pin with a tag in a file.
type filePin struct {
	ref.Reference
	site

	object *manifest.Object
	is     workload.Reference
}

// pinsOf returns the pins with tags of a file.
func pinsOf(f *manifest.File) (pins []filePin) {
	seen := map[site]int{}
	for _, o := range f.Objects {
		for _, spec := range o.PodSpecs {
			for _, r := range spec.References {
				at := site{o.Kind, o.Metadata.Namespace, o.Metadata.Name, spec.Key, r.Name, 0}
				seen[at]++
				at.n = seen[at]
				if p, ok := taggedPin(r.Text); ok {
					pins = append(pins, filePin{p, at, o, r})
				}
			}
		}
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
