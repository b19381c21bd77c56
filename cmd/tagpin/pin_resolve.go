// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tagpin/tagpin/pkg/amount"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/manifest"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// fileLookups resolves the references of files. An object that waits for a registry keeps no other
// one from being looked up: only the registry's own settings limit the requests to it, and the
// goroutine of an object needs less memory than its parsed document.
type fileLookups struct {
	engine  *engine
	update  bool // also resolve pins that have a tag
	running sync.WaitGroup
}

// begin begins to resolve the references of all objects of a file, unless it has begun already. The
// lookups end with ctx.
func (l *fileLookups) begin(ctx context.Context, file *source) {
	if file.results != nil {
		return
	}
	file.results = make([]pin.Result, len(file.file.Objects))
	for i, o := range file.file.Objects {
		object := o.Object
		if l.update {
			object = withoutDigests(object)
		}
		l.running.Go(func() {
			file.results[i] = l.engine.pinner.Pin(ctx, pin.Request{
				Input:    policy.Input{Operation: policy.Create, Object: object},
				Keychain: func(workload.Identity) keychain.Keychain { return l.engine.keychain },
			})
		})
	}
}

// resolution is what became of the references of all files.
type resolution struct {
	*tally

	failed []error // one for each reference that could not be resolved, in order
}

// collect sets the edits of the files from the results of their lookups.
func (s *sources) collect(rules *policy.Policy, t terminal) *resolution {
	r := &resolution{tally: s.tally()}
	for _, file := range s.files {
		for i, o := range file.file.Objects {
			references := allReferences(o.Object)
			if file.results[i].Skipped != "" {
				r.leaveOwned(file.file.Name, o, rules, t)
			}
			for k, outcome := range file.results[i].Outcomes {
				r.add(file, o, references[k], outcome, t)
			}
		}
	}
	r.leave(s.files, rules, t)
	adviseOnce(r.failed, t.program)
	if r.short > 0 {
		t.complain(fmt.Errorf("%s, because the config says shortNames: leave", amount.Text(r.short,
			"image was not changed, as it names no registry host",
			"images were not changed, as they name no registry host")))
	}
	return r
}

// leaveOwned counts the references of an object that has a controller, and prints a message for
// each that would be pinned in another object.
func (r *resolution) leaveOwned(
	name string, o *manifest.Object, rules *policy.Policy, t terminal,
) {
	for _, d := range decideUnowned(o.Object, rules).Decisions {
		line, column := o.Position(d.Reference)
		at := place(name, line, column)
		if r.stays(d, at, "changed", t) {
			continue
		}
		r.alone++
		t.complain(fmt.Errorf("%s: %s was not pinned: %s", at, d.Reference.Text, inOwned))
	}
}

// leave counts the images that can't be pinned in their files, and prints a message for each that
// the policy would pin. Of those with the same hint, only the first has a message.
func (r *resolution) leave(files []*source, rules *policy.Policy, t terminal) {
	type left struct {
		manifest.Left
		file string
	}
	var all []left
	byHint := newHints(files, t.program)
	for _, file := range files {
		for _, l := range slices.Concat(file.file.Left, file.leftByOthers()) {
			at := place(file.file.Name, l.Line, l.Column)
			if l.Reference && r.stays(decide(l.Text, rules), at, "changed", t) {
				continue
			}
			all = append(all, left{l, file.file.Name})
			byHint.count(l)
		}
	}
	for _, l := range all {
		r.left++
		t.complain(byHint.message(l.file, "pinned", l.Left))
	}
}

// leftByOthers returns the images that the file has by further names alone. They are not pinned,
// because an edit is for the format by one name.
func (s *source) leftByOthers() (left []manifest.Left) {
	for _, other := range s.others {
		left = append(left, other.file.Left...)
		for _, o := range other.file.Objects {
			for _, r := range allReferences(o.Object) {
				if r.Never {
					continue
				}
				line, column := o.Position(r)
				left = append(left, manifest.Left{
					Line: line, Column: column, Text: r.Text, Reference: true,
					Why: "it is an image only by another name of the file; write its digest there",
				})
			}
		}
	}
	return left
}

// allReferences returns the references of an object in document order.
func allReferences(o *workload.Object) []workload.Reference {
	var all []workload.Reference
	for _, spec := range o.PodSpecs {
		all = append(all, spec.References...)
	}
	return all
}

// withoutDigests returns an object whose references have no digest if they have a tag.
func withoutDigests(o *workload.Object) *workload.Object {
	copied := *o
	copied.PodSpecs = slices.Clone(o.PodSpecs)
	for i := range copied.PodSpecs {
		spec := &copied.PodSpecs[i]
		spec.References = slices.Clone(spec.References)
		for j := range spec.References {
			text := &spec.References[j].Text
			if r, err := ref.Parse(*text); err == nil && r.Pinned() && r.Tagged() {
				*text = r.Text()
			}
		}
	}
	return &copied
}

// add adds the outcome of a reference, and its edit to the file. If the reference is not valid, add
// prints a message.
func (r *resolution) add(
	s *source, object *manifest.Object, before workload.Reference, o pin.Outcome, t terminal,
) {
	at := func() string {
		line, column := object.Position(before)
		return place(s.file.Name, line, column)
	}
	if o.Err != nil {
		r.failed = append(r.failed, fmt.Errorf("%s: %s: %w", at(), o.Reference.Text, o.Err))
		return
	}
	if o.Reason == policy.Invalid {
		t.complain(invalid(o.Decision, at(), "changed"))
	}
	if o.Reason == policy.Pinned || o.Pin.IsZero() { // it stays as its author wrote it
		r.tally.add(o.Reason)
		return
	}
	edit := manifest.Edit{Object: object, Reference: before, Text: o.Pin.String()}
	if edit.Result() == before.Text { // it was looked up for --update, and has not moved
		r.pinned++
		return
	}
	s.images = append(s.images, o.Pin.Canonical())
	s.edits = append(s.edits, edit)
}

// summary says in one line what was done with the files.
func (r *resolution) summary(p *pinning, s *sources) string {
	references, changed, onDisk := 0, 0, false
	images := map[string]bool{}
	for _, file := range s.files {
		if len(file.edits) > 0 {
			changed++
		}
		references += len(file.edits)
		for _, image := range file.images {
			images[image] = true
		}
		onDisk = onDisk || file.path != ""
	}
	what := amount.Of(references, "reference") + " to " + amount.Of(len(images), "image")
	in := " in " + amount.Of(changed, "file")
	var did string
	switch {
	case references == 0 && (p.diff || p.check):
		did = "would pin nothing"
	case references == 0:
		did = "pinned nothing"
	case p.diff || p.check:
		did = "would pin " + what + in
	case p.write:
		did = "pinned " + what + in
	case onDisk:
		did = "printed " + amount.Of(len(s.files), "file") + " with " +
			amount.Of(references, "reference") + " pinned to " + amount.Of(len(images), "image")
	default:
		did = "pinned " + what
	}
	parts := append([]string{did}, some(
		quantity{r.pinned, "was pinned already", "were pinned already"},
		quantity{len(r.failed), "could not be resolved", "could not be resolved"},
	)...)
	parts = append(parts, r.parts("can't be pinned", "can't be pinned")...)
	switch {
	case len(parts) == 1 && references == 0:
		parts = append(parts, "no image was found")
	case references > 0 && onDisk && !p.write && !p.diff && !p.check:
		parts = append(parts, "nothing was written (--write)")
	}
	return strings.Join(parts, "; ")
}
