// SPDX-License-Identifier: Apache-2.0

package pin_test

import (
	"context"
	"errors"
	"testing"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// TestPanicFailsOneReference checks that a panic in a lookup fails only the lookup's reference.
func TestPanicFailsOneReference(t *testing.T) {
	pod := `{"spec":{"containers":[{"name":"a","image":"odd"},{"name":"b","image":"even"}]}}`
	object, err := new(workload.Table).Scan(workload.Kind{Kind: "Pod"}, []byte(pod))
	if err != nil {
		t.Fatal(err)
	}
	reported := 0
	p := &pin.Pinner{
		Resolver: resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
			if req.Ref.String() == "odd" {
				panic("odd")
			}
			return resolve.Result{Digest: digestOf("1")}, nil
		}),
		Panics: &panics.Reporter{Report: func(*panics.Error) { reported++ }},
	}
	result := p.Pin(t.Context(), pin.Request{Input: create(object)})
	if odd := result.Outcomes[0]; !errors.Is(odd.Err, failure.Unavailable) || reported != 1 {
		t.Errorf("odd: %v, reported %d times, want unavailable, reported once", odd.Err, reported)
	}
	if even := result.Outcomes[1]; even.Err != nil || even.Pin.IsZero() {
		t.Errorf("even: %v, want it pinned", even.Err)
	}
}
