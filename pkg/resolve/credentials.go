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

// Credentials fills a request's candidates from its keychain, and where all are refused reads them again: a secret may
// have been rotated. It costs a second look-up only where that gives other candidates.
type Credentials struct {
	Next Resolver
}

// Resolve asks Next, and after a refusal once more with what the keychain reads anew.
func (c *Credentials) Resolve(ctx context.Context, req Request) (Result, error) {
	if req.Keychain == nil {
		return c.Next.Resolve(ctx, req)
	}
	if ctx.Err() != nil { // to compare entries of many secrets takes time
		return Result{}, Late(ctx, req.Ref)
	}
	req.Credentials = candidates(ctx, req, false)
	result, err := c.Next.Resolve(ctx, req)
	if !errors.Is(err, failure.Unauthorized) || ctx.Err() != nil {
		return result, err
	}
	fresh := candidates(ctx, req, true)
	if slices.EqualFunc(fresh, req.Credentials, func(a, b keychain.Credential) bool { return a == b }) {
		return result, err
	}
	req.Credentials = fresh
	return c.Next.Resolve(ctx, req)
}

// candidates asks the keychain. Of the credentials, a trace has their number.
func candidates(ctx context.Context, req Request, fresh bool) []keychain.Credential {
	ctx, s := span.Start(ctx, "credentials")
	defer s.End()
	found := req.Keychain.Credentials(ctx, req.Ref, fresh)
	s.Number("tagpin.credentials", len(found))
	return found
}
