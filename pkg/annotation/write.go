// SPDX-License-Identifier: Apache-2.0

package annotation

import (
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tagpin/tagpin/pkg/workload"
)

// maxLength is the greatest length of an annotation that is written, in bytes. It is half of what
// the API server allows for all annotations, because there are others.
const maxLength = workload.MaxAnnotations / 2

// Changes are changes to the annotations of one object. The zero value has none.
type Changes struct {
	// All are the changes, one for each metadata.
	All []*Change
	// Omitted are the annotations that are left out, because one would be longer than maxLength, or
	// the API server would refuse the object for the length of all of them. An object with a thousand
	// images is pinned all the same, but its pins can't be refreshed.
	Omitted []string
}

// Change has the changes to the annotations in one metadata.
type Change struct {
	Metadata *workload.Metadata
	// Values has the new values, by the name of the annotation. It may be empty. An annotation whose
	// new value is empty is removed.
	Values map[string]string
}

// Put makes an annotation have a value. If the value is empty, the annotation is removed.
func (c *Changes) Put(m *workload.Metadata, key, value string) {
	if current, present := m.Annotations[key]; value != current || value == "" && present {
		c.of(m).Values[key] = value
	}
}

// PutTexts makes an annotation have the JSON of some texts, or omits it.
func (c *Changes) PutTexts(m *workload.Metadata, key string, texts map[string]string) {
	value := encode(texts)
	if len(value) > maxLength || c.size(m, key, value) > workload.MaxAnnotations {
		c.Omitted = append(c.Omitted, key)
		value = ""
	}
	c.Put(m, key, value)
}

// Set is like PutTexts, but if the annotation of the new or the old object has just these texts,
// that annotation is put byte for byte. Another spelling would make another pod template, and roll
// it out.
func (c *Changes) Set(m, old *workload.Metadata, key string, texts map[string]string) {
	c.putSpelled(m, old, key, texts, maps.Equal)
}

// Update is like Set, but the annotation of the new or the old object may have more than the texts:
// fewer entries would make another pod template too.
func (c *Changes) Update(m, old *workload.Metadata, key string, texts map[string]string) {
	c.putSpelled(m, old, key, texts, hasAll)
}

// putSpelled puts the annotation of the new or the old object if it fits the texts, and otherwise
// the texts.
func (c *Changes) putSpelled(
	m, old *workload.Metadata, key string, texts map[string]string,
	fits func(annotation, texts map[string]string) bool,
) {
	for _, value := range []string{m.Annotations[key], old.Annotations[key]} {
		if value != "" && fits(Decode(value), texts) {
			c.Put(m, key, value)
			return
		}
	}
	c.PutTexts(m, key, texts)
}

// hasAll reports whether all has every entry of some.
func hasAll(all, some map[string]string) bool {
	for k, v := range some {
		if all[k] != v {
			return false
		}
	}
	return true
}

// of returns the change of a metadata, which it adds if there is none yet.
func (c *Changes) of(m *workload.Metadata) *Change {
	for _, change := range c.All {
		if change.Metadata.Pointer == m.Pointer {
			return change
		}
	}
	change := &Change{Metadata: m, Values: map[string]string{}}
	c.All = append(c.All, change)
	return change
}

// size returns the size in bytes of all annotations in a metadata after the changes, if one more
// annotation has a value.
func (c *Changes) size(m *workload.Metadata, key, value string) int {
	values := maps.Clone(c.of(m).Values)
	values[key] = value
	size := m.Size
	for k, v := range values {
		size += sizeOf(k, v) - sizeOf(k, m.Annotations[k])
	}
	return size
}

// sizeOf returns the size of an annotation in bytes. One without a value does not exist.
func sizeOf(key, value string) int {
	if value == "" {
		return 0
	}
	return len(key) + len(value)
}

// encode returns the JSON of some texts, with the keys in order. If there are no texts, it returns
// "".
func encode(texts map[string]string) string {
	var b []byte
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		// AppendQuote replaces invalid UTF-8, and its error is about nothing else.
		b, _ = jsontext.AppendQuote(append(b, ','), key)
		b, _ = jsontext.AppendQuote(append(b, ':'), texts[key])
	}
	if b == nil {
		return ""
	}
	b[0] = '{'
	return string(append(b, '}'))
}
