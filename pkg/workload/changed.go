// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"strings"
)

// TemplatesChanged reports for each pod spec whether its pod template differs between two objects
// in anything but image references, the creation timestamp, and the annotations in which tagpin
// records its pins. The objects are JSON. They are compared in one pass without decoding them,
// which is possible because an API server always writes the fields of an object in the same order.
// If one of the objects can't be parsed, the result is false for all pod specs.
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

// templatePointer returns the JSON pointer of the pod template that contains a pod spec.
func templatePointer(spec *PodSpec) string { return strings.TrimSuffix(spec.Pointer, "/spec") }

// templates computes hashes of the pod templates of one object.
type templates struct {
	*scanner

	sums    map[string]hash.Hash // by the pointer of the template
	ignored map[string]bool      // pointers of values that are left out of the hashes
	visited map[string]bool      // pointers of templates and ignored values, and of their parents
}

func newTemplates(specs []PodSpec) *templates {
	t := &templates{
		sums:    map[string]hash.Hash{},
		ignored: map[string]bool{},
		visited: map[string]bool{},
	}
	for i := range specs {
		at := templatePointer(&specs[i])
		t.sums[at] = sha256.New()
		t.visit(at)
		t.ignore(at + "/metadata/creationTimestamp")
		for _, name := range []string{AnnotationPins, AnnotationRefreshed} {
			t.ignore(string(appendStep([]byte(at+"/metadata/annotations"), []byte(name))))
		}
		for _, r := range specs[i].References {
			t.ignore(r.Pointer)
		}
	}
	return t
}

// ignore leaves the value at a pointer out of the hashes.
func (t *templates) ignore(pointer string) {
	t.ignored[pointer] = true
	t.visit(pointer)
}

// visit adds a pointer and its parents to visited.
func (t *templates) visit(pointer string) {
	for p := pointer; p != ""; p = p[:max(strings.LastIndexByte(p, '/'), 0)] {
		t.visited[p] = true
	}
}

func (t *templates) scan(raw []byte) error {
	t.scanner = scanners.Get().(*scanner)
	defer t.release()
	t.reset(raw)
	return t.descend()
}

// descend hashes the next value if it is a pod template, and otherwise looks for pod templates in
// it.
func (t *templates) descend() error {
	if sum, ok := t.sums[string(t.at)]; ok {
		return t.add(sum, string(t.at)+"/metadata/annotations")
	}
	if len(t.at) > 0 && !t.visited[string(t.at)] {
		return t.dec.SkipValue()
	}
	if t.dec.PeekKind() == '[' {
		return t.array(t.descend)
	}
	return t.object(func([]byte) error { return t.descend() })
}

// add adds the next value to a hash. annotations is the pointer of the template's annotations. Only
// their members are hashed, so that an empty object of annotations has the same hash as none.
func (t *templates) add(sum hash.Hash, annotations string) error {
	kind, bare := t.dec.PeekKind(), string(t.at) == annotations
	if !t.visited[string(t.at)] || kind != '{' && kind != '[' {
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
	return t.object(func(name []byte) error {
		if t.ignored[string(t.at)] {
			return t.dec.SkipValue()
		}
		if string(t.at) != annotations {
			write(sum, name, ":")
		}
		return t.add(sum, annotations)
	})
}

// write adds the length of a text, the text, and a sign that tells the type of the text.
func write(sum hash.Hash, text []byte, sign string) {
	var length [binary.MaxVarintLen64]byte
	_, _ = sum.Write(length[:binary.PutUvarint(length[:], uint64(len(text)))])
	_, _ = sum.Write(text)
	_, _ = sum.Write([]byte(sign))
}
