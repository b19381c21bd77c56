// SPDX-License-Identifier: Apache-2.0

package failure_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/failure"
)

func TestSplit(t *testing.T) {
	a, b, c := errors.New("a"), errors.New("b"), errors.New("c")
	two := errors.Join(a, b)
	for name, tt := range map[string]struct {
		err  error
		want []string
	}{
		"nil":             {nil, nil},
		"one":             {a, []string{"a"}},
		"joined":          {two, []string{"a", "b"}},
		"joined one":      {errors.Join(a), []string{"a"}},
		"nested":          {errors.Join(two, c), []string{"a", "b", "c"}},
		"wrapped":         {fmt.Errorf("x: %w", fmt.Errorf("y: %w", two)), []string{"x: y: a", "x: y: b"}},
		"nested wrapped":  {errors.Join(c, fmt.Errorf("x: %w", two)), []string{"c", "x: a", "x: b"}},
		"text after":      {fmt.Errorf("%w; z", two), []string{"a\nb; z"}},
		"several causes":  {fmt.Errorf("%w and %w", a, b), []string{"a and b"}},
		"with a class":    {failure.Errorf(failure.NotFound, "x"), []string{"x"}},
		"wrapped, single": {fmt.Errorf("x: %w", a), []string{"x: a"}},
	} {
		var got []string
		for _, err := range failure.Split(tt.err) {
			got = append(got, err.Error())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("Split of %s: -want +got:\n%s", name, diff)
		}
	}
	if got := failure.Split(fmt.Errorf("x: %w", two)); !errors.Is(got[1], b) {
		t.Errorf("Split(%q)[1] = %v, want it to wrap %v", "x: a\nb", got[1], b)
	}
}
