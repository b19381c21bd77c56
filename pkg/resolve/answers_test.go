// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// TestAnswersForSeveral checks that a tenant with two namespaces that need very many images pushes
// out no answer that other namespaces use.
func TestAnswersForSeveral(t *testing.T) {
	const size = 100
	next := &backend{digest: d("x")}
	var answers resolve.Answers
	answers.Resize(size)
	c := &resolve.Cache{
		Next: next, Answers: &answers, Client: new(registry.Client),
		Limits: resolve.Limits{TTL: time.Hour},
	}
	ask := func(image, namespace string, fresh bool) {
		t.Helper()
		if _, err := c.Resolve(t.Context(), of(image, namespace, fresh)); err != nil {
			t.Fatal(err)
		}
	}
	for _, namespace := range []string{"shop", "blog"} {
		for i := range size / 4 {
			ask(fmt.Sprintf("ghcr.io/app:%d", i), namespace, true)
		}
	}
	for i := range 10 * size {
		ask(fmt.Sprintf("ghcr.io/made-up:%d", i), "loud-1", true)
		ask(fmt.Sprintf("ghcr.io/made-up:%d", i), "loud-2", true)
	}
	before := next.asked.Load()
	for i := range size / 4 {
		ask(fmt.Sprintf("ghcr.io/app:%d", i), "blog", false)
	}
	next.wantAsked(t, "the images that others use", before)
}

// TestLongFailuresAreBounded checks that failures with long texts take as much memory as others.
func TestLongFailuresAreBounded(t *testing.T) {
	const size = 4000
	next := resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
		if err := req.Begin(); err != nil {
			return resolve.Result{}, err
		}
		return resolve.Result{}, failure.WithCause(fmt.Errorf("%w: %s", failure.NotFound, strings.Repeat("x", 600)),
			strings.Repeat("y", failure.MaxCause))
	})
	var answers resolve.Answers
	answers.Resize(size)
	c := &resolve.Cache{
		Next: next, Answers: &answers, Client: new(registry.Client),
		Limits: resolve.Limits{NegativeTTL: time.Hour},
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range 2 * size {
		image := fmt.Sprintf("ghcr.io/made-up:%d", i)
		if _, err := c.Resolve(t.Context(), of(image, "loud", false)); failure.Of(err) != failure.NotFound {
			t.Fatal(err)
		}
	}
	if held := heap() - before; held > 4<<20 {
		t.Errorf("%d failures hold %d KiB, want at most 4 MiB", size, held>>10)
	}
	runtime.KeepAlive(&answers)
}
