// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"io"
	"slices"
	"strings"
)

// root scans the document as an object of a kind whose templates are where tree says.
func (s *scanner) root(o *Object, tree *node) error {
	var apiVersion string
	room := MaxAnnotations
	var own PodSpec // for a Pod, whose template is the object itself
	present, err := s.object(func(name []byte) error {
		switch string(name) {
		case "apiVersion":
			return s.text(&apiVersion, maxVersion)
		case "metadata":
			return s.metadata(&o.Metadata, &room)
		case "spec":
			if tree.template {
				return s.podSpec(&own)
			}
		}
		return s.descend(o, tree.fields[string(name)])
	})
	if err != nil {
		return err
	}
	if !present {
		return errors.New("not a JSON object")
	}
	if _, err := s.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("text after the object")
	}
	if own.Pointer != "" {
		own.Metadata, own.Annotated = o.Metadata, true
		o.PodSpecs = append(o.PodSpecs, own)
	}
	_, o.Version = splitAPIVersion(apiVersion)
	return nil
}

// descend goes on towards the templates; n is nil where none can be.
func (s *scanner) descend(o *Object, n *node) error {
	switch {
	case n == nil:
		return s.dec.SkipValue()
	case n.template:
		return s.template(o)
	case n.elements != nil:
		return s.array(func() error { return s.element(o, n.elements) })
	}
	_, err := s.object(func(name []byte) error { return s.descend(o, n.fields[string(name)]) })
	return err
}

// element goes on in one element of a list. Its name, and not its place, says which it is: others may be put before it.
func (s *scanner) element(o *Object, n *node) error {
	if n.template || n.elements != nil || n.fields["name"] != nil {
		return s.descend(o, n)
	}
	at, first, name := s.pointer(""), len(o.PodSpecs), ""
	_, err := s.object(func(field []byte) error {
		if string(field) == "name" {
			return s.name(&name)
		}
		return s.descend(o, n.fields[string(field)])
	})
	if name == "" {
		return err
	}
	named := string(appendStep([]byte(at[:strings.LastIndexByte(at, '/')]), []byte(name)))
	for i := range o.PodSpecs[first:] {
		spec := &o.PodSpecs[first+i]
		spec.Key = named + strings.TrimPrefix(spec.Key, at)
	}
	return err
}

// template scans a pod template: metadata beside a pod spec.
func (s *scanner) template(o *Object) error {
	t := PodSpec{Metadata: Metadata{Pointer: s.pointer("/metadata")}, Annotated: true}
	_, err := s.object(func(name []byte) error {
		switch string(name) {
		case "metadata":
			return s.metadata(&t.Metadata, &s.room)
		case "spec":
			return s.podSpec(&t)
		}
		return s.dec.SkipValue()
	})
	if err == nil && t.Pointer != "" {
		o.PodSpecs = append(o.PodSpecs, t)
		err = s.count()
	}
	return err
}

// metadata scans an ObjectMeta. room is how many bytes of annotations may be kept.
func (s *scanner) metadata(m *Metadata, room *int) (err error) {
	annotation := func(into *string) error { return s.annotation(into, room) }
	m.Present, err = s.object(func(name []byte) error {
		switch string(name) {
		case "name":
			return s.name(&m.Name)
		case "generateName":
			return s.name(&m.GenerateName)
		case "namespace":
			return s.name(&m.Namespace)
		case "creationTimestamp":
			return s.name(&m.Created)
		case "deletionTimestamp":
			m.Deleting = s.dec.PeekKind() == '"'
		case "annotations":
			m.HasAnnotations, m.Size, err = s.known(&m.Annotations, knownAnnotation, annotation)
			return err
		case "labels":
			_, _, err := s.known(&m.Labels, s.knownLabel, s.name)
			return err
		case "ownerReferences":
			return s.array(func() error { return s.owner(&m.Controller) })
		}
		return s.dec.SkipValue()
	})
	return err
}

// known keeps of a map of strings what keep knows, and reads the values by read. size is that of
// the whole map.
func (s *scanner) known(
	into *map[string]string, keep func(string) bool, read func(*string) error,
) (present bool, size int, err error) {
	present, err = s.object(func(name []byte) error {
		size += len(name)
		if !keep(string(name)) {
			n, err := s.length()
			size += n
			return err
		}
		key, value := string(name), ""
		if err := read(&value); err != nil {
			return err
		}
		size += len(value)
		if *into == nil {
			*into = make(map[string]string)
		}
		(*into)[key] = value
		return nil
	})
	return present, size, err
}

func knownAnnotation(name string) bool {
	switch name {
	case AnnotationPins, AnnotationProposedPins, AnnotationRefresh, AnnotationRefreshed, AnnotationRestartedAt, AnnotationMirror:
		return true
	}
	return false
}

func (s *scanner) knownLabel(name string) bool {
	switch name {
	case LabelControllerRevisionHash, LabelPodTemplateHash, LabelRolloutsPodTemplateHash, LabelControllerUID:
		return true
	}
	return slices.Contains(s.labels, name)
}

func (s *scanner) owner(into *Owner) error {
	var o Owner
	controller := false
	_, err := s.object(func(name []byte) error {
		switch string(name) {
		case "apiVersion":
			return s.text(&o.APIVersion, maxVersion)
		case "kind":
			return s.name(&o.Kind)
		case "name":
			return s.name(&o.Name)
		case "uid":
			return s.name(&o.UID)
		case "controller":
			controller = s.dec.PeekKind() == 't'
		}
		return s.dec.SkipValue()
	})
	if controller && into.IsZero() {
		*into = o
	}
	return err
}
