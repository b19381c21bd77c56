// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/tagpin/tagpin/pkg/jsonwalk"
)

// root scans the whole document. tree has the paths of its kind.
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
		if !tree.images || string(name) == "status" {
			return s.descend(tree.children[string(name)])
		}
		s.sum = &s.rest
		s.leaveOut()
		err := s.descend(tree.children[string(name)])
		s.hash()
		s.sum = nil
		return err
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
	s.addImages()
	return nil
}

// descend scans the next value, which is at node n of the tree. If n is nil, the value can't
// contain a pod template or an image and is skipped.
func (s *scanner) descend(n *node) error {
	switch {
	case n == nil:
		return s.dec.SkipValue()
	case n.template:
		return s.podTemplate()
	case n.image:
		return s.imageField()
	case n.children[each] != nil:
		return jsonwalk.Array(s.dec, func() error { return s.element(n.children[each]) })
	}
	return s.object(n, nil)
}

// element scans one element of a list. If the element has a name, the keys of its pod specs and the
// names of its images contain it in place of the index, because the index changes when an element
// is inserted before it.
func (s *scanner) element(n *node) error {
	if n.template || n.children[each] != nil {
		return s.descend(n)
	}
	specs, images, name := len(s.into.PodSpecs), len(s.images.References), ""
	err := s.object(n, &name)
	if err != nil || name == "" {
		return err
	}
	at := s.dec.StackPointer()
	named := string(at.Parent().AppendToken(name))
	for i := range s.into.PodSpecs[specs:] {
		key := &s.into.PodSpecs[specs+i].Key
		*key = named + strings.TrimPrefix(*key, string(at))
	}
	for i := range s.images.References[images:] {
		r := &s.images.References[images+i]
		r.Name = named + strings.TrimPrefix(r.Name, string(at))
	}
	return nil
}

// object scans an object whose fields may lead to pod templates and images. If element is not nil,
// the object is an element of a list, and its name is put there.
func (s *scanner) object(n *node, element *string) error {
	first, policy := len(s.images.References), ""
	err := jsonwalk.Object(s.dec, func(name []byte) error {
		child := n.children[string(name)]
		switch field := string(name); {
		case child != nil:
			return s.descend(child)
		case element != nil && field == "name":
			return s.name(element)
		case n.images && field == "imagePullPolicy":
			return s.name(&policy)
		case n.identity && field == "serviceAccountName":
			return s.name(&s.images.Identity.ServiceAccount)
		case n.account && field == "serviceAccountName":
			return s.otherAccount()
		case n.identity && field == "imagePullSecrets":
			return jsonwalk.Array(s.dec, func() error { return s.pullSecret(&s.images) })
		}
		return s.dec.SkipValue()
	})
	if err == nil && policy == never {
		s.neverPull(s.images.References[first:])
	}
	return err
}

// otherAccount scans the account of one element of a list.
func (s *scanner) otherAccount() error {
	var account string
	err := s.name(&account)
	s.images.OtherAccounts = s.images.OtherAccounts || account != ""
	return err
}

// podTemplate scans a pod template, an object with metadata and a pod spec.
func (s *scanner) podTemplate() error {
	var t PodSpec
	s.hash()
	outer := s.sum
	s.sum = &s.template
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
	s.sum = outer
	s.leaveOut()
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
