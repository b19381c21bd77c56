// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/keychain"
)

// TestSilent checks when a registry counts as silent: a second after a request that has had no
// answer, until an answer comes or the last request is a minute ago.
func TestSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{}
		want := func(when string, silent bool) {
			t.Helper()
			if got := c.Silent("r.example"); got != silent {
				t.Errorf("%s: Silent = %t, want %t", when, got, silent)
			}
		}
		want("not asked", false)
		l := c.lookup(head("r.example/app", ""), keychain.Credential{}, new(slot))
		l.asked()
		time.Sleep(minSilence / 2)
		want("just asked", false)
		l.asked()
		time.Sleep(minSilence / 2)
		want("without an answer to the first request", true)
		if c.Silent("other.example") {
			t.Error("another registry is silent")
		}
		l.heard()
		want("after an answer", false)
		l.asked()
		time.Sleep(silenceLifetime - time.Second)
		want("asked less than a minute ago", true)
		time.Sleep(time.Second)
		want("asked a minute ago", false)
	})
}
