// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"io"

	"github.com/tagpin/tagpin/pkg/registry"
)

// Blob gets a blob of the repository of req.Ref with the credentials of req's Keychain, from any
// mirror or the registry, because the bytes show whether they are the right ones. read gets the
// bytes as they arrive (registry.Client.Blob). No other host is asked once read was called.
func (m *Mirrors) Blob(
	ctx context.Context, req Request, b registry.Blob, read func(io.Reader) error,
) error {
	called := false
	once := func(r io.Reader) error {
		called = true
		return read(r)
	}
	get := func(req registry.Request) (struct{}, error) {
		return struct{}{}, m.Client.Blob(ctx, req, b, once)
	}
	_, err := fromHosts(ctx, m, req, hosts[struct{}]{
		asks: func(registry.Mirror) bool { return true },
		get:  get,
		ends: func() bool { return called },
	})
	return err
}

// Tags returns the tags of the repository of req.Ref. Only mirrors that may be asked for tags are
// asked before the registry.
func (m *Mirrors) Tags(ctx context.Context, req Request) (*registry.Tags, error) {
	return fromHosts(ctx, m, req, hosts[*registry.Tags]{
		asks: func(mirror registry.Mirror) bool { return mirror.Resolve },
		get:  func(req registry.Request) (*registry.Tags, error) { return m.Client.Tags(ctx, req) },
	})
}

// Referrers returns the referrers of the manifest whose digest req.Ref has. Only mirrors that may
// be asked for tags are asked before the registry, because another one may have no list, or an old
// one.
func (m *Mirrors) Referrers(ctx context.Context, req Request) (*registry.Referrers, error) {
	return fromHosts(ctx, m, req, hosts[*registry.Referrers]{
		asks: func(mirror registry.Mirror) bool { return mirror.Resolve },
		get: func(req registry.Request) (*registry.Referrers, error) {
			return m.Client.Referrers(ctx, req)
		},
	})
}

// hosts says how something is got from the mirrors of a registry and from the registry.
type hosts[T any] struct {
	asks func(registry.Mirror) bool // whether a mirror is asked
	get  func(registry.Request) (T, error)
	ends func() bool // whether no other host is asked after an error; nil if one always is
}

// fromHosts returns what the first mirror, or else the registry, has. If none has it, the error is
// the registry's own, with those of the mirrors in its text.
func fromHosts[T any](ctx context.Context, m *Mirrors, req Request, h hosts[T]) (T, error) {
	get := func(req Request) (T, error) {
		if req.Keychain != nil {
			req.Credentials = req.Keychain.Credentials(ctx, req.Ref, false)
		}
		return h.get(req.registry())
	}
	var failed []error
	for _, mirror := range m.Client.Host(req.Ref.Host()).Mirrors {
		if !h.asks(mirror) {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		there, err := m.at(mirror, req)
		if err == nil {
			var found T
			if found, err = get(there); err == nil || h.ends != nil && h.ends() {
				return found, err
			}
		}
		failed = append(failed, err)
	}
	found, err := get(req)
	return found, withMirrors(err, failed)
}
