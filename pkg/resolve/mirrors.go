// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry"
)

// Mirrors asks the mirrors of a reference's registry first, in order, and the registry itself where none of them has an
// answer. A mirror is asked as the registry that it is: by its own settings, and with the credentials of its own host, so
// this layer stands outside of Credentials and Cache. Where the registry's own settings say Verify, a mirror's answer
// counts only if the registry gives the same. Without mirrors it costs nothing.
type Mirrors struct {
	Next   Resolver
	Client *registry.Client
}

// Resolve asks those mirrors that may be asked for tags. An error is in the class of the registry's own answer.
func (m *Mirrors) Resolve(ctx context.Context, req Request) (Result, error) {
	host := m.Client.Host(req.Ref.Host())
	if len(host.Mirrors) == 0 {
		return m.Next.Resolve(ctx, req)
	}
	found, at, failed := m.ask(ctx, host.Mirrors, req)
	if at != "" && !found.Stale && !host.Verify {
		return found, nil
	}
	own, err := m.Next.Resolve(ctx, req)
	switch {
	case err == nil && at != "" && host.Verify && found.Digest != own.Digest:
		return Result{}, failure.Errorf(failure.Invalid, "%s: its mirror %s has another digest for the tag", host.Name, at)
	case err == nil || !errors.Is(err, failure.Unavailable) || at == "" || host.Verify:
		return own, also(err, failed)
	}
	return found, nil // the mirror's last answer, where neither it nor the registry can be reached
}

// ask gives the first answer of a mirror, and where it is from; one that is not stale, if there is.
func (m *Mirrors) ask(ctx context.Context, mirrors []registry.Mirror, req Request) (found Result, at string, failed []error) {
	for _, mirror := range mirrors {
		if !mirror.Resolve || ctx.Err() != nil {
			continue
		}
		there, err := mirrored(req, mirror)
		if err == nil {
			var result Result
			if result, err = m.Next.Resolve(ctx, there); err == nil && (at == "" || !result.Stale) {
				found, at = result, mirror.Host
			}
		}
		switch {
		case err != nil:
			failed = append(failed, err)
		case !found.Stale:
			return found, at, failed
		}
	}
	return found, at, failed
}

// Manifest gets the manifest that req's digest names, from any mirror or the registry itself: its bytes tell whether they
// are the right ones. The credentials are those of req's Keychain. It is not cached.
func (m *Mirrors) Manifest(ctx context.Context, req Request) (*registry.Manifest, error) {
	get := func(req Request) (*registry.Manifest, error) {
		if req.Keychain != nil {
			req.Credentials = req.Keychain.Credentials(ctx, req.Ref, false)
		}
		return m.Client.Manifest(ctx, req.registry())
	}
	var failed []error
	for _, mirror := range m.Client.Host(req.Ref.Host()).Mirrors {
		if req.Ref.Digest() == "" || ctx.Err() != nil {
			break
		}
		there, err := mirrored(req, mirror)
		if err == nil {
			var found *registry.Manifest
			if found, err = get(there); err == nil {
				return found, nil
			}
		}
		failed = append(failed, err)
	}
	found, err := get(req)
	return found, also(err, failed)
}

// mirrored is req at a mirror.
func mirrored(req Request, mirror registry.Mirror) (Request, error) {
	at, err := req.Ref.At(mirror.Host)
	if err != nil {
		return Request{}, failure.Errorf(failure.Invalid, "%s: it can't have the repository: %w", mirror.Host, err)
	}
	req.Ref, req.Credentials = at, nil
	return req, nil
}

// also is err with what the mirrors said before.
func also(err error, mirrors []error) error {
	if err == nil || len(mirrors) == 0 {
		return err
	}
	texts := make([]string, len(mirrors))
	for i, e := range mirrors {
		texts[i] = e.Error()
	}
	return fmt.Errorf("%w (mirrors: %s)", err, strings.Join(texts, "; "))
}
