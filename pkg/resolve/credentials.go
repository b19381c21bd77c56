// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/span"
)

// Credentials is a Resolver that sets the credentials of a request from its keychain. If they are
// refused, it reads them again, because a secret may have been rotated. Only if they have changed
// does it ask Next again.
type Credentials struct {
	Next Resolver
	// Room is a room that CredentialRoom has made. If nil, credentials have no bound.
	Room *fair.Room
}

// freeCredentials is how many bytes of credentials a lookup may have without room. Nearly all have
// less: one or two pull secrets of a pod fit an image, and most credentials are far smaller than
// the largest known ones, which have 4 KiB.
const freeCredentials = 4 << 10

// CredentialRoom returns the room of a Credentials, in KiB. A lookup holds its credentials while it
// waits. They may have 64 KiB (package keychain), and no other lookup may have the same ones.
func CredentialRoom() *fair.Room { return &fair.Room{Capacity: 16 << 10, Modest: 256} }

// explainer is a Keychain that knows why it has no more credentials for an image.
type explainer interface {
	// Explain returns a sentence for each source that gave no credential for the image. If all is
	// false, it leaves out those in which nothing is wrong. The sentences are for the operator, and
	// have no secrets. Explain reads nothing.
	Explain(r ref.Reference, all bool) []string
}

// Resolve asks Next once or twice. If a credential may be missing, the cause of the error says
// which sources have none.
func (c *Credentials) Resolve(ctx context.Context, req Request) (Result, error) {
	result, err := c.resolve(ctx, req)
	keys, ok := req.Keychain.(explainer)
	if err == nil || !ok || errors.Is(err, failure.Invalid) {
		return result, err
	}
	// An unavailable registry may have limited requests without a credential.
	all := !errors.Is(err, failure.Unavailable)
	if missing := keys.Explain(req.Ref, all); len(missing) > 0 {
		err = failure.WithCause(err, failure.Cause(err)+"; "+strings.Join(missing, "; "))
	}
	return result, err
}

func (c *Credentials) resolve(ctx context.Context, req Request) (Result, error) {
	if req.Keychain == nil {
		return c.Next.Resolve(ctx, req)
	}
	if ctx.Err() != nil { // reading the entries of many secrets takes time
		return Result{}, Late(ctx, req.Ref)
	}
	req.Credentials = credentials(ctx, req, false)
	leave, err := c.enter(req)
	if err != nil {
		return Result{}, err
	}
	defer leave()
	result, err := c.Next.Resolve(ctx, req)
	refused := errors.Is(err, failure.Unauthorized) || errors.Is(err, registry.ErrRefused)
	if !refused || ctx.Err() != nil {
		return result, err
	}
	fresh := credentials(ctx, req, true)
	if slices.Equal(fresh, req.Credentials) {
		return result, err
	}
	req.Credentials, req.renewed = fresh, true
	leaveFresh, err := c.enter(req)
	if err != nil {
		return Result{}, err
	}
	defer leaveFresh()
	return c.Next.Resolve(ctx, req)
}

// enter takes room for the credentials of a request.
func (c *Credentials) enter(req Request) (leave func(), err error) {
	size := sizeOf(req.Credentials)
	if c.Room == nil || size <= freeCredentials {
		return func() {}, nil
	}
	leave, err = c.Room.Enter(req.Sender, req.Namespace, int64(size>>10))
	if err != nil {
		return nil, busy("%s: lookups of namespace %s have too many large credentials; use fewer pull "+
			"secrets for the image", req.Ref.Host(), req.Namespace)
	}
	return leave, nil
}

func sizeOf(credentials []keychain.Credential) (bytes int) {
	for _, c := range credentials {
		bytes += keychain.Size(c.Auth)
	}
	return bytes
}

// credentials asks the keychain. The trace has the number of credentials.
func credentials(ctx context.Context, req Request, fresh bool) []keychain.Credential {
	ctx, s := span.Start(ctx, "credentials")
	defer s.End()
	found := req.Keychain.Credentials(ctx, req.Ref, fresh)
	s.Number("tagpin.credentials", len(found))
	return found
}
