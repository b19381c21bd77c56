// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"cmp"
	"strings"

	"github.com/tagpin/tagpin/pkg/ref"
)

// pullNever is the pull policy by which the kubelet only runs images that are on the node already.
const pullNever = "Never"

func (s *scanner) podSpec(p *PodSpec) error {
	at := s.pointer("")
	var account, deprecated string
	present, err := s.object(func(name []byte) error {
		switch string(name) {
		case "containers", "initContainers":
			return s.array(func() error { return s.container(p, false) })
		case "ephemeralContainers":
			return s.array(func() error { return s.container(p, true) })
		case "volumes":
			return s.array(func() error { return s.volume(p) })
		case "serviceAccountName":
			return s.name(&account)
		case "serviceAccount":
			return s.name(&deprecated)
		case "imagePullSecrets":
			return s.array(func() error { return s.pullSecret(p) })
		}
		return s.dec.SkipValue()
	})
	if present {
		p.Pointer, p.Key = at, at
	}
	p.Identity.ServiceAccount = cmp.Or(account, deprecated)
	return err
}

func (s *scanner) container(p *PodSpec, ephemeral bool) error {
	r := Reference{Missing: true, Ephemeral: ephemeral}
	var policy string
	present, err := s.object(func(name []byte) error {
		switch string(name) {
		case "name":
			return s.name(&r.Name)
		case "image":
			return s.image(&r)
		case "imagePullPolicy":
			return s.name(&policy)
		}
		return s.dec.SkipValue()
	})
	if present && err == nil {
		err = s.add(p, r, policy)
	}
	return err
}

func (s *scanner) volume(p *PodSpec) error {
	r := Reference{Missing: true}
	var volume, policy string
	isImage := false
	_, err := s.object(func(name []byte) (err error) {
		switch string(name) {
		case "name":
			return s.name(&volume)
		case "image":
			isImage, err = s.object(func(name []byte) error {
				switch string(name) {
				case "reference":
					return s.image(&r)
				case "pullPolicy":
					return s.name(&policy)
				}
				return s.dec.SkipValue()
			})
			return err
		}
		return s.dec.SkipValue()
	})
	if isImage {
		r.Name = "volume/" + volume
		if err == nil {
			err = s.add(p, r, policy)
		}
	}
	return err
}

// image reads the text of a reference and sets its pointer.
func (s *scanner) image(r *Reference) error {
	if s.dec.PeekKind() == '"' {
		r.Missing, r.Pointer = false, s.pointer("")
	}
	return s.text(&r.Text, ref.MaxLength)
}

func (s *scanner) add(p *PodSpec, r Reference, policy string) error {
	r.Never = policy == pullNever
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
	_, err := s.object(func(name []byte) error {
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
