// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Entries are the pins that tagpin made in a pod spec, as its annotation tells them: container (or volume/<name>) to
// text@digest, whatever the output says.
type Entries map[string]ref.Reference

// ReadEntries reads the annotation beside a pod spec. What is no JSON object, no pin, or not what the container of that
// name holds counts for nothing: anybody may write the annotation, so it only says which of the pins that are there may
// move, never what to run.
func ReadEntries(o *workload.Object, i int) Entries {
	spec := &o.PodSpecs[i]
	annotation := AnnotationMetadata(o, i).Annotations[workload.AnnotationPins]
	if annotation == "" {
		return nil
	}
	var texts map[string]string
	if json.Unmarshal([]byte(annotation), &texts) != nil {
		return nil
	}
	entries := make(Entries, len(texts))
	for _, r := range spec.References {
		entry, err := ref.Parse(texts[EntryKey(o, i, r.Name)])
		if err != nil || !entry.Pinned() {
			continue
		}
		held, err := ref.Parse(r.Text)
		// A tag of the author's own beside the digest is the text that the pin stands for, whatever was before.
		retagged := held.Tagged() && held.Text() != entry.Text()
		if err == nil && held.Digest() == entry.Digest() && held.Repository() == entry.Repository() && !retagged {
			entries[r.Name] = entry
		}
	}
	return entries
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
	if s := &o.PodSpecs[i]; s.Annotated || !s.Listed && len(o.PodSpecs) == 1 {
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

// newHistory is what the same pod spec held in the old object. Nil stands for none.
func newHistory(in Input, i int, output Output) *history {
	if in.Operation != Update {
		return nil
	}
	j, ok := Before(in.Object, i, in.Old)
	if !ok {
		return nil
	}
	old := &in.Old.PodSpecs[j]
	h := &history{texts: make(map[string]string, len(old.References)), entries: ReadEntries(in.Old, j), output: output}
	for _, r := range old.References {
		h.texts[r.Name] = r.Text
	}
	return h
}

// Before finds the pod spec of the old object that pod spec i of o was, which may be none; old may be nil.
func Before(o *workload.Object, i int, old *workload.Object) (j int, ok bool) {
	if old == nil {
		return 0, false
	}
	for j := range old.PodSpecs {
		if old.PodSpecs[j].Key == o.PodSpecs[i].Key {
			return j, true
		}
	}
	return 0, false
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
	h := &history{entries: ReadEntries(o, i), output: p.Output}
	running := map[string]digest.Digest{}
	for _, r := range o.PodSpecs[i].References {
		pin, err := ref.Parse(r.Text)
		if err != nil || !pin.Pinned() || pin.Digest().Algorithm() != digest.SHA256 {
			continue // tagpin writes no other
		}
		_, ours := h.entries[r.Name]
		if text := h.textOf(r.Name, pin); text != "" && (ours || running[text] == "") {
			running[text] = pin.Digest()
		}
	}
	return running
}

// keep is the second half of rule 8: a reference to be resolved takes the digest that a kept pin of the same text has,
// so that one object has one answer. before is each pod spec's history.
func keep(decisions []Decision, before []*history) {
	var kept map[string]ref.Reference
	for _, d := range decisions {
		if h := before[d.PodSpec]; h != nil && d.Held.Pinned() && (d.Reason == Unchanged || d.Reason == Sticky) {
			if kept == nil {
				kept = make(map[string]ref.Reference)
			}
			kept[h.textOf(d.Reference.Name, d.Held)] = d.Held
		}
	}
	for i := range decisions {
		d := &decisions[i]
		if pin, ok := kept[d.Parsed.Text()]; ok && d.Action == Resolve && d.Reason != Refresh {
			d.Held, d.Reason = pin, Kept
		}
	}
}
