// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Entries are the pins that tagpin made in a pod spec, as its annotation tells them: container (or volume/<name>) to
// text@digest, whatever the output says.
type Entries map[string]ref.Reference

// Told is what tagpin's annotations tell of a pod spec.
type Told struct {
	Entries Entries // the pins that tagpin made, and that are still there
	Record  Markers // what they were resolved for
	// Other tells that an entry is for a reference with another digest now: the annotation is of other pins.
	Other bool
}

// Read reads what is told of each pod spec of an object; nil has none. What is no JSON object, no pin, or not what the
// container of that name holds counts for nothing: anybody may write the annotations, so they only say which of the pins
// that are there may move, never what to run. Each is decoded once, though many pod specs may share it.
func Read(o *workload.Object) []Told {
	if o == nil {
		return nil
	}
	told := make([]Told, len(o.PodSpecs))
	var from *workload.Metadata
	var pins, record map[string]string
	for i := range o.PodSpecs {
		if m := AnnotationMetadata(o, i); m != from {
			from, pins, record = m, Decode(m.Annotations[workload.AnnotationPins]), Decode(m.Annotations[workload.AnnotationRefreshed])
		}
		if pins != nil {
			told[i].read(o, i, pins)
		}
		told[i].Record = readRecord(o, i, record)
	}
	return told
}

// MaxAnnotations is how many bytes the annotations of one metadata may have.
const MaxAnnotations = workload.MaxAnnotations

// Decode reads an annotation that is a JSON object of texts. Anything else, or anything longer than
// MaxAnnotations, yields nil.
func Decode(annotation string) (texts map[string]string) {
	if annotation == "" || len(annotation) > MaxAnnotations || json.Unmarshal([]byte(annotation), &texts) != nil {
		return nil
	}
	return texts
}

// read reads the entries of pod spec i.
func (t *Told) read(o *workload.Object, i int, pins map[string]string) {
	spec := &o.PodSpecs[i]
	t.Entries = make(Entries, len(spec.References))
	for _, r := range spec.References {
		entry, err := ref.Parse(pins[EntryKey(o, i, r.Name)])
		if err != nil || !entry.Pinned() {
			continue
		}
		held, err := ref.Parse(r.Text)
		if err == nil && held.Pinned() && held.Digest() != entry.Digest() {
			t.Other = true
		}
		// A tag of the author's own beside the digest is the text that the pin stands for, whatever was before.
		retagged := held.Tagged() && held.Text() != entry.Text()
		if err == nil && held.Digest() == entry.Digest() && held.Repository() == entry.Repository() && !retagged {
			t.Entries[r.Name] = entry
		}
	}
}

// AnnotationMetadata is where the pins of a pod spec are told: beside it, so that its pods inherit them, or in the
// object's own metadata where a CRD might prune the template's.
func AnnotationMetadata(o *workload.Object, i int) *workload.Metadata {
	if o.PodSpecs[i].Annotated {
		return &o.PodSpecs[i].Metadata
	}
	return &o.Metadata
}

// EntryKey is the key of a reference in the annotation: its name, or where several pod specs share or may come to share
// one annotation the pod spec's key, a colon and its name.
func EntryKey(o *workload.Object, i int, name string) string {
	if s := &o.PodSpecs[i]; s.Annotated || !s.Shared {
		return name
	}
	return o.PodSpecs[i].Key + ":" + name
}

// history is what a pod spec held before the request.
type history struct {
	texts   map[string]string
	entries Entries
	output  Output
}

// reading is what the rules need of both objects of a request, read once.
type reading struct {
	now, old []Told
	before   []int
}

func read(in Input) reading {
	if in.Operation != Update {
		in.Old = nil
	}
	return reading{now: Read(in.Object), old: Read(in.Old), before: Before(in.Object, in.Old)}
}

// history is what pod spec i held in the old object. Nil stands for none.
func (r *reading) history(in Input, i int, output Output) *history {
	j := r.before[i]
	if j < 0 {
		return nil
	}
	old := &in.Old.PodSpecs[j]
	h := &history{texts: make(map[string]string, len(old.References)), entries: r.old[j].Entries, output: output}
	for _, reference := range old.References {
		h.texts[reference.Name] = reference.Text
	}
	return h
}

// Before finds for each pod spec of an object the one of the old object that it was: its index, or -1. old may be nil.
func Before(o, old *workload.Object) []int {
	before := make([]int, len(o.PodSpecs))
	var byKey map[string]int
	if old != nil {
		byKey = make(map[string]int, len(old.PodSpecs))
		for j := range old.PodSpecs {
			byKey[old.PodSpecs[j].Key] = j
		}
	}
	for i := range o.PodSpecs {
		j, ok := byKey[o.PodSpecs[i].Key]
		if !ok {
			j = -1
		}
		before[i] = j
	}
	return before
}

func (h *history) text(name string) (string, bool) {
	if h == nil {
		return "", false
	}
	text, ok := h.texts[name]
	return text, ok
}

// sticks is rule 5: the old value is a pin of the very text that the new one holds. It sets d.Held to the old value.
func (h *history) sticks(d *Decision) bool {
	old, ok := h.text(d.Reference.Name)
	if !ok || d.Parsed.IsZero() {
		return false
	}
	parsed, err := ref.Parse(old)
	if err != nil || !parsed.Pinned() || h.textOf(d.Reference.Name, parsed) != d.Parsed.Text() {
		return false
	}
	d.Held = parsed
	return true
}

// textOf is the text that a pin was made for: what the annotation says, else its own. A pin without a tag may have been
// made for any tag of its repository, if tags are dropped: then only the annotation can tell, and nothing is guessed.
func (h *history) textOf(name string, pin ref.Reference) string {
	if entry, ok := h.entries[name]; ok {
		return entry.Text()
	}
	if h.output == DigestOnly && !pin.Tagged() {
		return ""
	}
	return pin.Text()
}

// Running is what a pod spec runs, by the text that each pin was made for. Where two pins are for one text, tagpin's own
// counts, as the other is its author's.
func (p *Policy) Running(o *workload.Object, i int) map[string]digest.Digest {
	h := &history{entries: Read(o)[i].Entries, output: p.Output}
	running := map[string]digest.Digest{}
	for _, r := range o.PodSpecs[i].References {
		pin, err := ref.Parse(r.Text)
		if err != nil || !sha256Pin(pin) {
			continue
		}
		_, ours := h.entries[r.Name]
		if text := h.textOf(r.Name, pin); text != "" && (ours || running[text] == "") {
			running[text] = pin.Digest()
		}
	}
	return running
}

// retagged returns the text that the old pin of a container was made for, if the new one has the
// same digest and another tag: what runs is the image of the old tag. Otherwise it is zero.
// An old pin without a tag says nothing of what its digest is, so that its author may add any.
func (h *history) retagged(name string, now ref.Reference) (before ref.Reference) {
	text, _ := h.text(name)
	old, err := ref.Parse(text)
	if err != nil || old.Digest() != now.Digest() || old.Repository() != now.Repository() {
		return ref.Reference{}
	}
	before, err = ref.Parse(h.textOf(name, old))
	if err != nil || !before.Tagged() || !now.Tagged() || before.Tag() == now.Tag() {
		return ref.Reference{}
	}
	return before
}

// keep is the second half of rule 8: a reference to be resolved takes the digest that a kept pin of
// the same text has, so that one object has one answer. One to be refreshed takes it only if its
// look-up fails. before is each pod spec's history.
func keep(decisions []Decision, before []*history) {
	kept := held(decisions, before, Unchanged, Sticky)
	refreshed := held(decisions, before, Refresh)
	for i := range decisions {
		d := &decisions[i]
		switch text := d.Parsed.Text(); {
		case d.Action != Resolve:
		case d.Reason != Refresh && kept[text].Pinned():
			d.Held, d.Reason = kept[text], Kept
		case d.Reason == Refresh && d.Held.IsZero():
			d.Held = refreshed[text]
		}
	}
}

// held returns the pins of the decisions with some reasons, by the text that each was made for. Of
// two, tagpin's own counts. Only sha256 is copied: tagpin writes no other digest.
func held(decisions []Decision, before []*history, reasons ...Reason) map[string]ref.Reference {
	var pins map[string]ref.Reference
	for _, d := range decisions {
		h := before[d.PodSpec]
		if h == nil || !sha256Pin(d.Held) || !slices.Contains(reasons, d.Reason) {
			continue
		}
		if pins == nil {
			pins = make(map[string]ref.Reference)
		}
		text := h.textOf(d.Reference.Name, d.Held)
		if _, ours := h.entries[d.Reference.Name]; ours || pins[text].IsZero() {
			pins[text] = d.Held
		}
	}
	return pins
}

// sha256Pin reports whether r has a digest of the only algorithm that tagpin writes.
func sha256Pin(r ref.Reference) bool {
	return r.Pinned() && r.Digest().Algorithm() == digest.SHA256
}
