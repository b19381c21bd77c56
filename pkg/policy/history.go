// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// oldSpec is what a pod spec of the old object held. Nil means that the old object did not have the
// pod spec.
type oldSpec struct {
	texts map[string]string // the text of each reference, by the name of its container or volume
	made  madeFor
}

// madeFor says which text each pin of a pod spec was made for.
type madeFor struct {
	entries Entries
	output  Output
}

// oldSpec returns what pod spec i of the new object held before.
func (r *bothRecords) oldSpec(in Input, i int, output Output) *oldSpec {
	j := r.oldIndex[i]
	if j < 0 {
		return nil
	}
	references := in.Old.PodSpecs[j].References
	old := &oldSpec{
		texts: make(map[string]string, len(references)),
		made:  madeFor{entries: r.old[j].Entries, output: output},
	}
	for _, reference := range references {
		old.texts[reference.Name] = reference.Text
	}
	return old
}

func (o *oldSpec) text(name string) (text string, ok bool) {
	if o == nil {
		return "", false
	}
	text, ok = o.texts[name]
	return text, ok
}

// restores applies rule 5: it reports whether the old value is a pin that was made for the new
// text. If so, it sets d.Held to the old value.
func (o *oldSpec) restores(d *Decision) bool {
	old, ok := o.text(d.Reference.Name)
	if !ok || d.Parsed.IsZero() {
		return false
	}
	pin, err := ref.Parse(old)
	if err != nil || !pin.Pinned() || o.made.text(d.Reference.Name, pin) != d.Parsed.Text() {
		return false
	}
	d.Held = pin
	return true
}

// textOfOtherTag returns the text that the old pin of a container was made for, if the new pin has
// the same digest and another tag: what runs is the image of the old tag. Otherwise it returns
// zero. If the old pin has no tag, nothing says which tag its digest belongs to, and the author may
// add any.
func (o *oldSpec) textOfOtherTag(name string, now ref.Reference) ref.Reference {
	text, _ := o.text(name)
	old, err := ref.Parse(text)
	if err != nil || old.Digest() != now.Digest() || old.Repository() != now.Repository() {
		return ref.Reference{}
	}
	before, err := ref.Parse(o.made.text(name, old))
	if err != nil || !before.Tagged() || !now.Tagged() || before.Tag() == now.Tag() {
		return ref.Reference{}
	}
	return before
}

// text returns the text that a pin was made for: that of its entry or, without an entry, the pin's
// own. It returns "" if the pin has no tag and no entry and the output drops tags: the pin may have
// been made for any tag of its repository.
func (m madeFor) text(name string, pin ref.Reference) string {
	if entry, ok := m.entries[name]; ok {
		return entry.Text()
	}
	if m.output == DigestOnly && !pin.Tagged() {
		return ""
	}
	return pin.Text()
}

// Running returns the digests that pod spec i runs, by the text that each pin was made for. If two
// pins were made for one text, the one that tagpin made counts. Digests other than sha256 are left
// out.
func (p *Policy) Running(o *workload.Object, i int) map[string]digest.Digest {
	made := madeFor{entries: Read(o)[i].Entries, output: p.Output}
	running := map[string]digest.Digest{}
	for _, r := range o.PodSpecs[i].References {
		pin, err := ref.Parse(r.Text)
		if err != nil || !hasSHA256(pin) {
			continue
		}
		_, ours := made.entries[r.Name]
		if text := made.text(r.Name, pin); text != "" && (ours || running[text] == "") {
			running[text] = pin.Digest()
		}
	}
	return running
}

// shareDigests applies the second half of rule 8: a reference that is to be resolved takes the
// digest of a kept pin of the same text. A reference that is to be refreshed takes the digest of
// another pin of its text only if its lookup fails. olds has what each pod spec held before.
func shareDigests(decisions []Decision, olds []*oldSpec) {
	kept := heldPins(decisions, olds, Unchanged, Sticky)
	refreshed := heldPins(decisions, olds, Refresh)
	for i := range decisions {
		d := &decisions[i]
		switch text := d.Parsed.Text(); {
		case d.Action != Resolve, d.Parsed.IsZero(): // it is too long
		case d.Reason != Refresh && kept[text].Pinned():
			d.Held, d.Reason = kept[text], Kept
		case d.Reason == Refresh && d.Held.IsZero():
			d.Held = refreshed[text]
		}
	}
}

// heldPins returns the pins that decisions with one of the reasons hold, by the text that each was
// made for. If two pins were made for one text, the one that tagpin made counts. Digests other than
// sha256 are left out: tagpin writes no others.
func heldPins(decisions []Decision, olds []*oldSpec, reasons ...Reason) map[string]ref.Reference {
	var pins map[string]ref.Reference
	for _, d := range decisions {
		old := olds[d.PodSpec]
		if old == nil || !hasSHA256(d.Held) || !slices.Contains(reasons, d.Reason) {
			continue
		}
		if pins == nil {
			pins = make(map[string]ref.Reference)
		}
		text := old.made.text(d.Reference.Name, d.Held)
		_, ours := old.made.entries[d.Reference.Name]
		if text != "" && (ours || pins[text].IsZero()) {
			pins[text] = d.Held
		}
	}
	return pins
}

// hasSHA256 reports whether r has a sha256 digest.
func hasSHA256(r ref.Reference) bool {
	return r.Pinned() && r.Digest().Algorithm() == digest.SHA256
}
