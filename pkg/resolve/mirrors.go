// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry"
)

// Mirrors is a Resolver that asks the mirrors of a registry first, in order, and the registry
// itself if no mirror has an answer (rule 9). A mirror has its own settings and credentials, so
// Mirrors is outside of Credentials and Cache. If the registry's settings say Verify, the
// registry is asked as well, and another digest there is an error, unless one of the two answers
// was only remembered: then the registry's counts. Those that are left to ask share the time, so
// that mirrors that hang leave some to the registry.
type Mirrors struct {
	Next   Resolver
	Client *registry.Client
}

// Resolve asks the mirrors that may be asked for tags. If none has an answer, the error is the
// registry's own, with those of the mirrors in its text.
func (m *Mirrors) Resolve(ctx context.Context, req Request) (Result, error) {
	host := m.Client.Host(req.Ref.Host())
	if len(host.Mirrors) == 0 {
		return m.Next.Resolve(ctx, req)
	}
	found, mirror, failed := m.ask(ctx, host.Mirrors, req)
	if mirror != "" && !found.Stale && !host.Verify {
		return found, nil
	}
	began := time.Now()
	own, err := m.Next.Resolve(ctx, req)
	switch {
	case mirror != "" && host.Verify && err == nil && found.Digest != own.Digest &&
		!found.Cached && !own.Cached: // else the tag may have moved between the answers
		return Result{}, failure.Errorf(failure.Invalid,
			"%s: its mirror %s has another digest for the tag", host.Name, mirror)
	case err == nil:
		return own, nil
	case mirror != "" && !host.Verify &&
		(isOutage(err, began, m.Client.Silence(host.Name)) || onlyMirrors(err)):
		return found, nil // which is stale, but nobody can say more now
	}
	class := failure.Of(err)
	if onlyMirrors(err) {
		class = classOfMirrors(class, failed)
	}
	return own, failure.New(class, withMirrors(err, failed))
}

// onlyMirrors reports whether a registry's own error says nothing about the image, since only its
// mirrors are meant to be asked: tagpin must not dial the registry's addresses, such as those of a
// localhost on the nodes, or the registry wants a login that the mirrors have and tagpin has not.
func onlyMirrors(err error) bool {
	explained := failure.Of(err) == failure.Invalid // else tenants would learn of refused addresses
	return errors.Is(err, registry.ErrAddress) && explained || failure.Of(err) == failure.Unauthorized
}

// classOfMirrors returns the class of a lookup about which the registry's own error, of class own,
// says nothing: unavailable if a mirror was, since it might have had the image. A registry that was
// not asked leaves the class to its first mirror.
func classOfMirrors(own failure.Class, mirrors []error) failure.Class {
	for _, err := range mirrors {
		if failure.Of(err) == failure.Unavailable {
			return failure.Unavailable
		}
	}
	if own == failure.Invalid && len(mirrors) > 0 {
		return failure.Of(mirrors[0])
	}
	return own
}

// ask returns the first answer that is not stale, or else the first stale one, and its mirror.
func (m *Mirrors) ask(
	ctx context.Context, mirrors []registry.Mirror, req Request,
) (found Result, mirror string, failed []error) {
	mirrors = slices.DeleteFunc(slices.Clone(mirrors), func(mirror registry.Mirror) bool {
		return !mirror.Resolve
	})
	for i, next := range mirrors {
		there, err := m.at(next, req)
		var result Result
		if err == nil {
			result, err = m.inShare(ctx, len(mirrors)-i+1, there)
		}
		switch {
		case err != nil:
			failed = append(failed, err)
		case !result.Stale:
			return result, next.Host, failed
		case mirror == "":
			found, mirror = result, next.Host
		}
	}
	return found, mirror, failed
}

// inShare asks Next within the time that is left, divided by the number of hosts that are left.
func (m *Mirrors) inShare(ctx context.Context, hosts int, req Request) (Result, error) {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(hosts))
		defer cancel()
	}
	return m.Next.Resolve(ctx, req)
}

// Manifest gets a manifest with the credentials of req's Keychain. By a digest, it gets the
// manifest from any mirror or the registry, because the bytes show whether they are the right ones.
// It is not cached.
func (m *Mirrors) Manifest(ctx context.Context, req Request) (*registry.Manifest, error) {
	return fromHosts(ctx, m, req, hosts[*registry.Manifest]{
		asks: func(registry.Mirror) bool { return req.Ref.Digest() != "" },
		get: func(req registry.Request) (*registry.Manifest, error) {
			return m.Client.Manifest(ctx, req)
		},
	})
}

// at returns the request as one to a mirror.
func (m *Mirrors) at(mirror registry.Mirror, req Request) (there Request, err error) {
	there = req
	there.Ref, there.Route, err = m.Client.AtMirror(mirror, req.Ref)
	there.Credentials = nil
	return there, err
}

// withMirrors adds the errors of mirrors to the text of err, and their causes to its cause.
func withMirrors(err error, mirrors []error) error { return withOthers(err, "mirrors", mirrors) }

// withOthers adds the texts and causes of other errors to those of err, after a label. If one of
// them is marked as saying nothing to other callers, so is the result: if that host had answered,
// the lookup might have ended in another way.
func withOthers(err error, label string, others []error) error {
	if err == nil || len(others) == 0 {
		return err
	}
	texts, causes := make([]string, len(others)), make([]string, len(others))
	all := &markedError{is: []error{err}}
	for i, e := range others {
		texts[i], causes[i] = e.Error(), failure.Cause(e)
		for _, mark := range []error{registry.ErrNoAnswer, registry.ErrOfNamespace} {
			if errors.Is(e, mark) {
				all.is = append(all.is, mark)
			}
		}
	}
	all.text = fmt.Sprintf("%v (%s: %s)", err, label, strings.Join(texts, "; "))
	return failure.WithCause(all,
		fmt.Sprintf("%s (%s: %s)", failure.Cause(err), label, strings.Join(causes, "; ")))
}
