// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// subject is a row, and what has to be asked to judge it.
type subject struct {
	key
	*row

	image ref.Reference // zero if invalid is set
	// invalid is why nothing can be asked.
	invalid string
	// tag is the image without a digest. It is zero if the image has no tag to compare with.
	tag ref.Reference
	// runs is the image with the digest that runs. It is zero if that is not known.
	runs ref.Reference
	// unknown is why runs is not known. It is empty if the container has not started.
	unknown string
	// foreign is the other name that the node has for the image, if it has one.
	foreign string

	tagged *question // which digest the tag names; nil if it is not asked
	served *question // whether the digest that runs is served; nil if it is not asked
	move   *question // whether the tag names what runs by another digest; nil if it is not asked
}

// newSubject returns the subject of a row.
func (a *Auditor) newSubject(k key, r *row) *subject {
	s := &subject{key: k, row: r}
	var err error
	if k == rest(k.namespace) {
		s.invalid = r.losses.String()
		return s
	}
	if s.invalid = k.container.unread; s.invalid != "" {
		return s
	}
	if s.image, err = ref.Parse(k.container.Image); err != nil {
		s.invalid = err.Error()
		return s
	}
	if a.onNode(s.image.Host()) {
		s.invalid = s.image.Host() + " is each node itself, so its registry can't be asked from here; " +
			"if it can, name it by --insecure or in registries of the config"
		return s
	}
	status := parseImageID(k.container.ImageID)
	name, short := s.image, a.LeaveShortNames && s.image.Short()
	if short && !status.image.IsZero() { // the node knows which registry it took
		if name, err = s.image.At(status.image.Repository()); err != nil {
			s.invalid = err.Error()
			return s
		}
	}
	switch {
	case name.Pinned():
		s.runs = name
	case status.image.IsZero() && k.container.Type == TypeVolume: // it may be pulled all the same
		s.unknown = "the status of the pod does not name the digest of a volume's image"
	case status.reason != "":
		s.unknown = status.reason
		return s // a registry's tag says nothing about an image that did not come from there
	case status.image.IsZero(): // it has not started
	default:
		s.runs = name.WithDigest(status.digest())
		if status.image.Repository() != name.Repository() {
			s.foreign = status.image.Repository()
		}
	}
	if short && status.image.IsZero() {
		s.invalid = "the name has no registry host, and the config says shortNames: leave"
		return s
	}
	if name.Tagged() || !name.Pinned() {
		s.tag = ref.MustParse(name.Text())
	}
	return s
}

// onNode reports whether a host is a node's own loopback address, where another registry may listen
// than on this machine. A host that the config or the user names, or for which the config has
// mirrors, may be asked.
func (a *Auditor) onNode(host string) bool {
	client := a.Images.Client
	return network.IsLoopback(network.CanonicalHost(host, false)) &&
		!client.Names(host) && len(client.Host(host).Mirrors) == 0
}

// asks reports whether the subject has questions to registries. An image that is never pulled has
// none.
func (s *subject) asks() bool { return s.invalid == "" && !s.container.Never }

// digest returns the digest that runs, or "" if it is not known.
func (s *subject) digest() digest.Digest { return s.runs.Digest() }

// digestOnly returns runs without its tag, so that each digest of a repository is asked for once.
func (s *subject) digestOnly() ref.Reference { return s.runs.WithoutTag() }

// tagNow returns the tag with a digest, without the tag's name.
func (s *subject) tagNow(d digest.Digest) ref.Reference { return s.tag.WithDigest(d).WithoutTag() }

// moved returns the digest that the tag names, if it differs from the one that runs.
func (s *subject) moved() digest.Digest {
	if s.tagged == nil || s.runs.IsZero() {
		return ""
	}
	if tag, err := s.tagged.answer(s.namespace); err == nil && tag.digest != s.digest() {
		return tag.digest
	}
	return ""
}

// servedByTag reports whether the tag names the digest that runs.
func (s *subject) servedByTag() bool {
	if s.tagged == nil {
		return false
	}
	tag, err := s.tagged.answer(s.namespace)
	return err == nil && tag.digest == s.digest()
}

// servedError returns the error of the question whether the digest that runs is served.
func (s *subject) servedError() error {
	if s.served == nil || s.servedByTag() { // another namespace may have got the tag since
		return nil
	}
	_, err := s.served.answer(s.namespace)
	return err
}

// isGone reports whether an error says that the registry has no such image.
func isGone(err error) bool { return errors.Is(err, failure.NotFound) }
