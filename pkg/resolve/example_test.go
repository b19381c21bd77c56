// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
)

// Layers are put around each other. The second lookup is answered from memory.
func Example() {
	client := &registry.Client{}
	fake := &resolvetest.Fake{} // in a program: &resolve.Registry{Client: client}
	fake.Set("nginx:1.25", resolvetest.Digest("its manifest"))
	answers := &resolve.Answers{}
	defer answers.Close()
	resolver := &resolve.Cache{
		Next: fake, Answers: answers, Client: client, Limits: resolve.Limits{TTL: time.Minute},
	}

	ctx := context.Background()
	for range 2 {
		result, err := resolver.Resolve(ctx, resolve.Request{Ref: ref.MustParse("nginx:1.25")})
		fmt.Println(result.Digest[:19], result.Cached, err)
	}
	_, err := resolver.Resolve(ctx, resolve.Request{Ref: ref.MustParse("nginx:no-such-tag")})
	fmt.Println(errors.Is(err, failure.NotFound))
	// Output:
	// sha256:0d4679321c3b false <nil>
	// sha256:0d4679321c3b true <nil>
	// true
}
