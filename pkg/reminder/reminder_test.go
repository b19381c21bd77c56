// SPDX-License-Identifier: Apache-2.0

package reminder

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Reminder
		for i, step := range []struct {
			wait time.Duration
			text string
			want bool
		}{
			{0, "", false}, // all was well from the beginning
			{0, "a", true},
			{time.Second, "a", false},
			{Interval - 2*time.Second, "a", false},
			{time.Second, "a", true},
			{Interval - time.Second, "a", false},
			{0, "b", true}, // from here on the time counts for b
			{time.Second, "b", false},
			{Interval - time.Second, "b", true},
			{0, "", true},
			{2 * Interval, "", false},
			{0, "b", true},
		} {
			time.Sleep(step.wait)
			if got := r.Due(step.text); got != step.want || r.Text != step.text {
				t.Errorf("step %d: Due(%q) = %t with the text %q, want %t", i, step.text, got, r.Text, step.want)
			}
		}
	})
}
