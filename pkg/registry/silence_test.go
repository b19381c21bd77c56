// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/keychain"
)

// TestSilence checks when a registry is silent: after a request that has had no answer, until an
// answer comes or the last request is long ago.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{}
		want := func(when string, silence time.Duration) {
			t.Helper()
			if got := c.Silence("r.example"); got != silence {
				t.Errorf("%s: Silence = %v, want %v", when, got, silence)
			}
		}
		want("not asked", 0)
		l := c.lookup("r.example", head("r.example/app", ""), keychain.Credential{}, new(slot))
		l.asked()
		time.Sleep(time.Second)
		l.asked()
		time.Sleep(time.Second)
		want("without an answer to the first request", 2*time.Second)
		if got := c.Silence("other.example"); got != 0 {
			t.Errorf("Silence of another registry = %v, want 0", got)
		}
		l.heard()
		want("after an answer", 0)
		l.asked()
		time.Sleep(silenceLifetime - time.Second)
		want("still remembered", silenceLifetime-time.Second)
		time.Sleep(time.Second)
		want("asked too long ago", 0)
	})
}
