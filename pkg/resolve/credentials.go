// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"errors"
	"slices"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/span"
)

// Credentials is a Resolver that sets the credentials of a request from its keychain. If all of
// them are refused, it reads them again, because a secret may have been rotated. Only if they have
// changed does it ask Next again.
type Credentials struct {
	Next Resolver
}

// Resolve asks Next once or twice.
func (c *Credentials) Resolve(ctx context.Context, req Request) (Result, error) {
	if req.Keychain == nil {
		return c.Next.Resolve(ctx, req)
	}
	if ctx.Err() != nil { // reading the entries of many secrets takes time
		return Result{}, Late(ctx, req.Ref)
	}
	req.Credentials = credentials(ctx, req, false)
	result, err := c.Next.Resolve(ctx, req)
	if !errors.Is(err, failure.Unauthorized) || ctx.Err() != nil {
		return result, err
	}
	fresh := credentials(ctx, req, true)
	if slices.Equal(fresh, req.Credentials) {
		return result, err
	}
	req.Credentials = fresh
	return c.Next.Resolve(ctx, req)
}

// credentials asks the keychain. The trace has the number of credentials.
func credentials(ctx context.Context, req Request, fresh bool) []keychain.Credential {
	ctx, s := span.Start(ctx, "credentials")
	defer s.End()
	found := req.Keychain.Credentials(ctx, req.Ref, fresh)
	s.Number("tagpin.credentials", len(found))
	return found
}
