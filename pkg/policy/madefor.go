// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/annotation"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// madeFor returns the text that the pin of an image was made for: that of its entry or, without an
// entry, the pin's own. It returns "" if the pin has no tag and no entry and the output drops tags:
// the pin may have been made for any tag of its repository.
func (p *Policy) madeFor(image *annotation.Image) string {
	switch {
	case !image.Entry.IsZero():
		return image.Entry.Text()
	case p.Output == DigestOnly && !image.Parsed.Tagged():
		return ""
	}
	return image.Parsed.Text()
}

// textOfOtherTag returns the text that an old pin was made for, if the new pin has the same digest
// and another tag: what runs is the image of the old tag. Otherwise it returns zero. If the old pin
// has no tag, nothing says which tag its digest belongs to, and the author may add any.
func (p *Policy) textOfOtherTag(old *annotation.Image, now ref.Reference) ref.Reference {
	if old.Parsed.Digest() != now.Digest() || old.Parsed.Repository() != now.Repository() {
		return ref.Reference{}
	}
	before, err := ref.Parse(p.madeFor(old))
	if err != nil || !before.Tagged() || !now.Tagged() || before.Tag() == now.Tag() {
		return ref.Reference{}
	}
	return before
}

// pins are pins by the text that each was made for.
type pins map[string]ref.Reference

// add adds the pin of an image. If two pins were made for one text, the one that tagpin made
// counts. Digests other than sha256 are left out: tagpin writes no others.
func (p *Policy) add(all pins, image *annotation.Image) {
	if !image.Parsed.Pinned() || image.Parsed.Digest().Algorithm() != digest.SHA256 {
		return
	}
	text := p.madeFor(image)
	if text != "" && (!image.Entry.IsZero() || all[text].IsZero()) {
		all[text] = image.Parsed
	}
}

// Running returns the sha256 pins of a pod's images, by the text that each was made for. If two
// pins were made for one text, it returns the one that tagpin made. It leaves out ephemeral
// containers: they belong to one pod, and not to its revision.
func (p *Policy) Running(pod *workload.Object) map[string]ref.Reference {
	running := pins{}
	for _, s := range annotation.Read(pod, nil) {
		for i := range s.Images {
			if !s.Images[i].Reference.Ephemeral {
				p.add(running, &s.Images[i])
			}
		}
	}
	return running
}

// shareDigests applies the second half of rule 8: a reference that is to be resolved takes the
// digest of a kept pin of the same text. A reference that is to be refreshed takes the digest of
// another pin of its text only if its lookup fails.
func (p *Policy) shareDigests(decisions []Decision) {
	kept := p.heldPins(decisions, Unchanged, Sticky)
	refreshed := p.heldPins(decisions, Refresh)
	for i := range decisions {
		d := &decisions[i]
		switch text := d.Parsed.Text(); {
		case d.Action != Resolve, d.Parsed.IsZero(): // it is too long
		case d.Reason != Refresh && kept[text].Pinned():
			d.Held, d.Reason = kept[text], SameText
		case d.Reason == Refresh && d.Held.IsZero():
			d.Held = refreshed[text]
		}
	}
}

// heldPins returns the pins that decisions with one of the reasons hold. Each of these pins is that
// of the old image.
func (p *Policy) heldPins(decisions []Decision, reasons ...Reason) pins {
	held := pins{}
	for i := range decisions {
		d := &decisions[i]
		if d.Old != nil && !d.Held.IsZero() && slices.Contains(reasons, d.Reason) {
			p.add(held, d.Old)
		}
	}
	return held
}
