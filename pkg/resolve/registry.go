// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"

	"github.com/tagpin/tagpin/pkg/registry"
)

// Registry asks the registry itself. It remembers no answer.
type Registry struct {
	Client *registry.Client
}

// Resolve tries the Credentials of the request.
func (r *Registry) Resolve(ctx context.Context, req Request) (Result, error) {
	d, err := r.Client.Digest(ctx, req.registry())
	return Result{Digest: d}, err
}

// registry returns the request as one to a registry.
func (r *Request) registry() registry.Request {
	return registry.Request{
		Ref: r.Ref, Credentials: r.Credentials, Namespace: r.Namespace, Sender: r.Sender, Begin: r.Begin,
	}
}
