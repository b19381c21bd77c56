// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/span"
)

// Traced makes a span of each look-up, where the request has a trace: without one it costs nothing. The registry's host is
// told, the repository is not.
type Traced struct {
	Next Resolver
}

// Resolve asks Next, and gives its answer as it is.
func (t *Traced) Resolve(ctx context.Context, req Request) (Result, error) {
	ctx, s := span.Start(ctx, "lookup")
	defer s.End()
	result, err := t.Next.Resolve(ctx, req)
	if s.Recording() {
		s.Text("tagpin.registry", req.Ref.Host())
		s.Text("tagpin.source", source(result))
		if err != nil {
			s.Fail(string(failure.Of(err)))
		}
	}
	return result, err
}
