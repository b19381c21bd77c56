// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry"
)

// Mirrors is a Resolver that asks the mirrors of a registry first, in order, and the registry
// itself if no mirror has an answer (rule 9). A mirror has its own settings and credentials, so
// Mirrors is outside of Credentials and Cache. If the registry's settings say Verify, a mirror's
// answer counts only if the registry gives the same. Those that are left to ask share the time, so
// that mirrors that hang leave some to the registry.
type Mirrors struct {
	Next   Resolver
	Client *registry.Client
}

// Resolve asks the mirrors that may be asked for tags. The error is the registry's own, with those
// of the mirrors in its text.
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
	case mirror != "" && !found.Stale && host.Verify && err == nil && found.Digest != own.Digest:
		return Result{}, failure.Errorf(failure.Invalid,
			"%s: its mirror %s has another digest for the tag", host.Name, mirror)
	case mirror != "" && !host.Verify && isOutage(err, began, m.Client.Silence(host.Name)):
		return found, nil // which is stale, but neither the mirror nor the registry can be reached
	}
	return own, withMirrors(err, failed)
}

// ask returns the first answer that is not stale, or else the first stale one, and its mirror.
func (m *Mirrors) ask(
	ctx context.Context, mirrors []registry.Mirror, req Request,
) (found Result, mirror string, failed []error) {
	mirrors = slices.DeleteFunc(slices.Clone(mirrors), func(mirror registry.Mirror) bool {
		return !mirror.Resolve
	})
	for i, next := range mirrors {
		there, err := at(next, req)
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
		there, err := at(mirror, req)
		if err == nil {
			var found *registry.Manifest
			if found, err = get(there); err == nil {
				return found, nil
			}
		}
		failed = append(failed, err)
	}
	found, err := get(req)
	return found, withMirrors(err, failed)
}

// at returns the request as one to a mirror.
func at(mirror registry.Mirror, req Request) (Request, error) {
	there, err := req.Ref.At(mirror.Host)
	if err != nil {
		return Request{}, failure.Errorf(failure.Invalid,
			"%s: it can't have the repository: %w", mirror.Host, err)
	}
	req.Ref, req.Credentials = there, nil
	return req, nil
}

// withMirrors adds the errors of mirrors to the text of err.
func withMirrors(err error, mirrors []error) error {
	if err == nil || len(mirrors) == 0 {
		return err
	}
	texts := make([]string, len(mirrors))
	for i, e := range mirrors {
		texts[i] = e.Error()
	}
	return fmt.Errorf("%w (mirrors: %s)", err, strings.Join(texts, "; "))
}
