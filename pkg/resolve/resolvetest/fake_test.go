// SPDX-License-Identifier: Apache-2.0

package resolvetest_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// However an image is spelled, its answer is one.
func TestFake(t *testing.T) {
	f := &resolvetest.Fake{}
	f.Set("nginx", resolvetest.Digest("1"))
	f.Fail("ghcr.io/a/b:1", failure.Unauthorized)
	for _, tt := range []struct {
		image string
		want  error
	}{
		{"nginx", nil},
		{"docker.io/library/nginx:latest", nil},
		{"nginx:1", failure.NotFound},
		{"ghcr.io/a/b:1", failure.Unauthorized},
	} {
		got, err := f.Resolve(t.Context(), resolve.Request{Ref: ref.MustParse(tt.image)})
		if !errors.Is(err, tt.want) || (err == nil) != (got.Digest == resolvetest.Digest("1")) {
			t.Errorf("Resolve(%s) = %v, %v, want %v", tt.image, got, err, tt.want)
		}
	}
	if n := f.Calls("nginx:latest"); n != 2 {
		t.Errorf("Calls(nginx:latest) = %d, want 2", n)
	}
	if asked := f.Asked(); len(asked) != 4 || asked[2].Ref.String() != "nginx:1" {
		t.Errorf("Asked() = %v, want the 4 in order", asked)
	}
}

func TestFakeHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &resolvetest.Fake{}
		release := f.Hold("nginx", resolvetest.Digest("1"))
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if got, err := f.Resolve(t.Context(), resolve.Request{Ref: ref.MustParse("nginx")}); err != nil || got.Digest != resolvetest.Digest("1") {
					t.Errorf("Resolve = %v, %v", got, err)
				}
			})
		}
		synctest.Wait()
		if n := f.Calls("nginx"); n != 2 {
			t.Errorf("Calls(nginx) = %d, want 2 that wait", n)
		}
		release()
		release() // may be deferred as well
		wg.Wait()
	})
}

func TestClass(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want failure.Class
		ok   bool
	}{
		{nil, "", false},
		{errors.New("none"), "", false},
		{fmt.Errorf("a: %w", failure.Invalid), failure.Invalid, true},
		{errors.Join(failure.Invalid, failure.NotFound), "", false},
	} {
		if got, ok := resolvetest.Class(tt.err); got != tt.want || ok != tt.ok {
			t.Errorf("Class(%v) = %q, %t, want %q, %t", tt.err, got, ok, tt.want, tt.ok)
		}
	}
}
