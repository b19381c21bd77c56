// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"strings"
)

// TemplatesChanged reports for each pod spec whether the pod template around it differs between two
// objects in more than image references and tagpin's own annotations. Both are compared as they came,
// in one pass each and without decoding them: an API server writes the fields of one object always in
// one order. If one of them can't be read, nothing is reported.
func TemplatesChanged(before, after []byte, specs []PodSpec) []bool {
	changed := make([]bool, len(specs))
	old, now := newTemplates(specs), newTemplates(specs)
	if old.scan(before) != nil || now.scan(after) != nil {
		return changed
	}
	for i := range specs {
		pointer := templatePointer(&specs[i])
		changed[i] = string(old.sums[pointer].Sum(nil)) != string(now.sums[pointer].Sum(nil))
	}
	return changed
}

// templatePointer is the JSON pointer of the pod template around a pod spec.
func templatePointer(spec *PodSpec) string { return strings.TrimSuffix(spec.Pointer, "/spec") }

// templates hashes the pod templates of one object.
type templates struct {
	*scanner

	sums map[string]hash.Hash // by the template's pointer
	skip map[string]struct{}  // pointers of what does not count
	on   map[string]struct{}  // pointers on the way to one of either
}

func newTemplates(specs []PodSpec) *templates {
	t := &templates{sums: map[string]hash.Hash{}, skip: map[string]struct{}{}, on: map[string]struct{}{}}
	for i := range specs {
		at := templatePointer(&specs[i])
		t.sums[at] = sha256.New()
		t.lead(at)
		t.leave(at + "/metadata/creationTimestamp")
		for _, name := range []string{AnnotationPins, AnnotationRefreshed} {
			t.leave(string(appendStep([]byte(at+"/metadata/annotations"), []byte(name))))
		}
		for _, r := range specs[i].References {
			t.leave(r.Pointer)
		}
	}
	return t
}

// leave makes what is at a pointer not count.
func (t *templates) leave(pointer string) {
	t.skip[pointer] = struct{}{}
	t.lead(pointer)
}

// lead notes the way to a pointer.
func (t *templates) lead(pointer string) {
	for way := pointer; way != ""; way = way[:max(strings.LastIndexByte(way, '/'), 0)] {
		t.on[way] = struct{}{}
	}
}

func (t *templates) scan(raw []byte) error {
	t.scanner = scanners.Get().(*scanner)
	defer t.release()
	t.reset(raw)
	return t.descend()
}

// descend goes on towards the templates.
func (t *templates) descend() error {
	if sum, ok := t.sums[string(t.at)]; ok {
		return t.add(sum, string(t.at)+"/metadata/annotations")
	}
	if _, ok := t.on[string(t.at)]; !ok && len(t.at) > 0 {
		return t.dec.SkipValue()
	}
	if t.dec.PeekKind() == '[' {
		return t.array(t.descend)
	}
	_, err := t.object(func([]byte) error { return t.descend() })
	return err
}

// add adds the value that is next to a sum. An object of annotations counts by its members alone, so
// that one with nothing in it is as none.
func (t *templates) add(sum hash.Hash, annotations string) error {
	kind, bare := t.dec.PeekKind(), string(t.at) == annotations
	if _, ok := t.on[string(t.at)]; !ok || kind != '{' && kind != '[' {
		raw, err := t.dec.ReadValue()
		write(sum, raw, ",")
		return err
	}
	if kind == '[' {
		write(sum, nil, "[")
		err := t.array(func() error { return t.add(sum, annotations) })
		write(sum, nil, "]")
		return err
	}
	if !bare {
		write(sum, nil, "{")
		defer write(sum, nil, "}")
	}
	_, err := t.object(func(name []byte) error {
		if _, skip := t.skip[string(t.at)]; skip {
			return t.dec.SkipValue()
		}
		if string(t.at) != annotations {
			write(sum, name, ":")
		}
		return t.add(sum, annotations)
	})
	return err
}

// write adds a text with its length before it, and a sign for what it was.
func write(sum hash.Hash, text []byte, sign string) {
	var length [binary.MaxVarintLen64]byte
	_, _ = sum.Write(length[:binary.PutUvarint(length[:], uint64(len(text)))])
	_, _ = sum.Write(text)
	_, _ = sum.Write([]byte(sign))
}
