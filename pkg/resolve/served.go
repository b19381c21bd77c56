// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"slices"

	"github.com/tagpin/tagpin/pkg/failure"
)

// Served returns nil if the manifest with the digest of req.Ref can be pulled: one of the mirrors
// or the registry has it. Unlike for tags, each mirror is asked, as a node does. Otherwise the
// error is as that of Resolve, with one difference: failure.NotFound means that the registry says
// so and that each mirror has answered. If a mirror was unavailable, which may have the manifest,
// the error is failure.Unavailable and not failure.NotFound.
func (m *Mirrors) Served(ctx context.Context, req Request) error {
	var failed []error
	mirrors := m.Client.Host(req.Ref.Host()).Mirrors
	for i, mirror := range mirrors {
		there, err := m.at(mirror, req)
		if err == nil {
			err = m.served(ctx, len(mirrors)-i+1, there)
		}
		if err == nil {
			return nil
		}
		failed = append(failed, err)
	}
	err := m.served(ctx, 1, req)
	if err == nil {
		return nil
	}
	class := failure.Of(err)
	if class == failure.NotFound {
		return unlessUnknown(err, failed)
	}
	if onlyMirrors(err) {
		class = classOfMirrors(class, failed)
	}
	return failure.New(class, withMirrors(err, failed))
}

// unlessUnknown returns the error of a registry that does not have a manifest, unless one of its
// mirrors could not be asked. Then it returns the error of that mirror, with the others in its
// text.
func unlessUnknown(err error, mirrors []error) error {
	for i, e := range mirrors {
		if failure.Of(e) == failure.Unavailable {
			others := append(slices.Delete(slices.Clone(mirrors), i, i+1), err)
			return failure.New(failure.Unavailable, withOthers(e, "elsewhere", others))
		}
	}
	return failure.New(failure.NotFound, withMirrors(err, mirrors))
}

// served asks one host, within the time that is left divided by the number of hosts.
func (m *Mirrors) served(ctx context.Context, hosts int, req Request) error {
	found, err := m.inShare(ctx, hosts, req)
	want := req.Ref.Digest()
	if err == nil && found.Digest.Algorithm() == want.Algorithm() && found.Digest != want {
		return failure.Errorf(failure.Invalid,
			"%s: the answer has another digest than the one asked for", req.Ref.Host())
	}
	return err
}
