// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"cmp"
	"strings"

	"github.com/tagpin/tagpin/pkg/jsonwalk"
	"github.com/tagpin/tagpin/pkg/ref"
)

// ContainerLists are the fields of a pod spec that are lists of containers. The conditions and
// policies of package registration are built from them.
var ContainerLists = [...]string{"initContainers", "containers", "ephemeralContainers"}

func (s *scanner) podSpec(p *PodSpec) error {
	if s.isObject() {
		p.Key = string(s.dec.StackPointer())
	}
	var account, deprecated string
	err := jsonwalk.Object(s.dec, func(name []byte) error {
		switch string(name) {
		case "containers", "initContainers":
			return jsonwalk.Array(s.dec, func() error { return s.container(p, false) })
		case "ephemeralContainers":
			return jsonwalk.Array(s.dec, func() error { return s.container(p, true) })
		case "volumes":
			return jsonwalk.Array(s.dec, func() error { return s.volume(p) })
		case "serviceAccountName":
			return s.name(&account)
		case "serviceAccount":
			return s.name(&deprecated)
		case "imagePullSecrets":
			return jsonwalk.Array(s.dec, func() error { return s.pullSecret(p) })
		}
		return s.dec.SkipValue()
	})
	p.Identity.ServiceAccount = cmp.Or(account, deprecated)
	return err
}

func (s *scanner) container(p *PodSpec, ephemeral bool) error {
	present := s.isObject()
	r := Reference{Ephemeral: ephemeral}
	if err := s.reference(&r, "image", "imagePullPolicy"); err != nil || !present {
		return err
	}
	return s.add(p, r)
}

func (s *scanner) volume(p *PodSpec) error {
	var r Reference
	var volume string
	isImage := false
	err := jsonwalk.Object(s.dec, func(name []byte) error {
		switch string(name) {
		case "name":
			return s.name(&volume)
		case "image":
			isImage = s.isObject()
			return s.reference(&r, "reference", "pullPolicy")
		}
		return s.dec.SkipValue()
	})
	if err != nil || !isImage {
		return err
	}
	r.Name = "volume/" + volume
	return s.add(p, r)
}

// reference reads an object that has a reference and a pull policy in the fields of these names.
func (s *scanner) reference(r *Reference, text, policy string) error {
	return jsonwalk.Object(s.dec, func(name []byte) error {
		switch string(name) {
		case "name":
			return s.name(&r.Name)
		case text:
			return s.image(r)
		case policy:
			return s.pullPolicy(r)
		}
		return s.dec.SkipValue()
	})
}

// image reads the text of a reference and sets its pointer.
func (s *scanner) image(r *Reference) error {
	if s.dec.PeekKind() != '"' {
		return s.dec.SkipValue()
	}
	r.Pointer = string(s.dec.StackPointer())
	s.hash()
	defer s.leaveOut()
	return s.text(&r.Text, ref.MaxLength)
}

// never is the pull policy with which the kubelet only runs images that are on the node already.
const never = "Never"

// pullPolicy reads a pull policy.
func (s *scanner) pullPolicy(r *Reference) error {
	var policy string
	err := s.name(&policy)
	r.Never = policy == never
	return err
}

func (s *scanner) add(p *PodSpec, r Reference) error {
	p.References = append(p.References, r)
	return s.count()
}

// count counts one more reference or pod spec and returns an error if there are too many.
func (s *scanner) count() error {
	if s.found++; s.found > MaxReferences {
		return ErrTooManyReferences
	}
	return nil
}

func (s *scanner) pullSecret(p *PodSpec) error {
	var secret string
	err := jsonwalk.Object(s.dec, func(name []byte) error {
		if string(name) == "name" {
			return s.name(&secret)
		}
		return s.dec.SkipValue()
	})
	if strings.TrimSpace(secret) != "" && len(p.Identity.PullSecrets) <= MaxPullSecrets {
		p.Identity.PullSecrets = append(p.Identity.PullSecrets, secret)
	}
	return err
}
