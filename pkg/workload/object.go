// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tagpin/tagpin/pkg/jsonwalk"
)

// root scans the whole document. tree has the paths to the pod templates of its kind.
func (s *scanner) root(tree *node) error {
	room := MaxAnnotations
	var own PodSpec // only used for a Pod, which is a pod template itself
	if !s.isObject() {
		return errors.New("not a JSON object")
	}
	err := jsonwalk.Object(s.dec, func(name []byte) error {
		switch string(name) {
		case "metadata":
			return s.metadata(&s.into.Metadata, &room)
		case "spec":
			if tree.template {
				return s.podSpec(&own)
			}
		}
		return s.descend(tree.children[string(name)])
	})
	if err != nil {
		return err
	}
	if _, err := s.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("text after the object")
	}
	if own.Key != "" {
		own.Metadata = s.into.Metadata
		s.into.PodSpecs = append(s.into.PodSpecs, own)
	}
	return nil
}

// descend scans the next value, which is at node n of the tree. If n is nil, the value can't
// contain a pod template and is skipped.
func (s *scanner) descend(n *node) error {
	switch {
	case n == nil:
		return s.dec.SkipValue()
	case n.template:
		return s.template()
	case n.children[each] != nil:
		return jsonwalk.Array(s.dec, func() error { return s.element(n.children[each]) })
	}
	return jsonwalk.Object(s.dec, func(name []byte) error {
		return s.descend(n.children[string(name)])
	})
}

// element scans one element of a list. If the element has a name, the Key of its pod specs contains
// the name in place of the index, because the index changes when an element is inserted before it.
func (s *scanner) element(n *node) error {
	if n.template || n.children[each] != nil || n.children["name"] != nil {
		return s.descend(n)
	}
	var at jsontext.Pointer
	first, name := len(s.into.PodSpecs), ""
	err := jsonwalk.Object(s.dec, func(field []byte) error {
		if string(field) == "name" {
			at = s.dec.StackPointer().Parent()
			return s.name(&name)
		}
		return s.descend(n.children[string(field)])
	})
	if name == "" {
		return err
	}
	named := string(at.Parent().AppendToken(name))
	for i := range s.into.PodSpecs[first:] {
		spec := &s.into.PodSpecs[first+i]
		spec.Key = named + strings.TrimPrefix(spec.Key, string(at))
	}
	return err
}

// template scans a pod template, an object with metadata and a pod spec.
func (s *scanner) template() error {
	var t PodSpec
	s.sum.Reset()
	s.leaveOut()
	err := jsonwalk.Object(s.dec, func(name []byte) (err error) {
		switch string(name) {
		case "metadata":
			s.leaveOut() // an empty metadata is equal to none
			err = s.metadata(&t.Metadata, &s.room)
			s.leaveOut()
		case "spec":
			err = s.podSpec(&t)
		default:
			err = s.dec.SkipValue()
		}
		s.hash()
		return err
	})
	t.Hash = s.sum.Sum64()
	if err == nil && t.Key != "" {
		t.Metadata.Pointer = strings.TrimSuffix(t.Key, "/spec") + "/metadata"
		s.into.PodSpecs = append(s.into.PodSpecs, t)
		err = s.count()
	}
	return err
}

// metadata scans an ObjectMeta. room is the number of bytes of annotations that may still be kept.
func (s *scanner) metadata(m *Metadata, room *int) error {
	m.Present = s.isObject()
	return jsonwalk.Object(s.dec, func(name []byte) (err error) {
		defer s.hash()
		switch string(name) {
		case "name":
			return s.name(&m.Name)
		case "namespace":
			return s.name(&m.Namespace)
		case "creationTimestamp":
			defer s.leaveOut()
			return s.name(&m.Created)
		case "deletionTimestamp":
			m.Deleting = s.dec.PeekKind() == '"'
		case "annotations":
			s.leaveOut() // an empty object of annotations is equal to none
			defer s.leaveOut()
			m.HasAnnotations = s.isObject()
			m.Size, err = s.stringMap(&m.Annotations, s.annotations, func(into *string) error {
				return s.annotation(into, room)
			})
			return err
		case "labels":
			_, err = s.stringMap(&m.Labels, s.labels, s.name)
			return err
		case "ownerReferences":
			return jsonwalk.Array(s.dec, func() error { return s.owner(&m.Controller) })
		}
		return s.dec.SkipValue()
	})
}

// stringMap scans a map of strings. It keeps the entries with the names in keep, and reads their
// values with read. size is the size in bytes of all names and values of the map.
func (s *scanner) stringMap(
	into *map[string]string, keep []string, read func(*string) error,
) (size int, err error) {
	err = jsonwalk.Object(s.dec, func(name []byte) error {
		size += len(name)
		defer s.hash()
		if string(name) == AnnotationPins || string(name) == AnnotationRefreshed {
			defer s.leaveOut()
		}
		if !slices.Contains(keep, string(name)) {
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
	return size, err
}

// owner scans an owner reference. It sets into for the first reference with controller=true.
func (s *scanner) owner(into *Owner) error {
	var o Owner
	controller := false
	err := jsonwalk.Object(s.dec, func(name []byte) error {
		switch string(name) {
		case "apiVersion":
			return s.text(&o.APIVersion, maxVersion)
		case "kind":
			return s.name(&o.Kind)
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
