// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// asked is an API server that counts the secrets that are read.
type asked struct {
	refusing
	reads chan string
}

func (a asked) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	a.reads <- name
	return a.refusing.Secret(ctx, namespace, name)
}

// What a reload replaces is closed when the last review that began with it has ended, and what it takes over is not.
func TestReplacedIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := asked{reads: make(chan string, 10)}
		h, err := newHandlers(config.Default(), logr.Discard(), prometheus.NewRegistry(), api{getter: a, lister: refusing{}})
		if err != nil {
			t.Fatal(err)
		}
		reads := func(s *state, secret string) bool {
			before := len(a.reads)
			s.credentials.For("team", workload.Identity{PullSecrets: []string{secret}}).Credentials(t.Context(), ref.MustParse("a.example/b:1"), false)
			return len(a.reads) > before
		}
		closed := func() bool {
			synctest.Wait()
			select {
			case <-h.closed:
				return true
			default:
				return false
			}
		}
		load := func(change func(*config.Config)) {
			c := *h.current.Load().config
			change(&c)
			if err := h.load(&c); err != nil {
				t.Fatal(err)
			}
		}
		first := h.use()
		load(func(c *config.Config) { c.Cache.Size = 5 })
		second := h.use()
		load(func(c *config.Config) { c.Credentials.DockerConfig = "/none" })
		second.reviews.Done()
		if closed() || !reads(first, "one") {
			t.Error("closed while a review goes on that began with it")
		}
		first.reviews.Done()
		if !closed() || reads(second, "two") {
			t.Error("not closed when the last review has ended")
		}
		if !reads(h.current.Load(), "three") {
			t.Error("the current one is closed")
		}
		load(func(c *config.Config) { c.Cache.Size = 6 })
		if !closed() || !reads(h.current.Load(), "four") {
			t.Error("what was taken over is closed")
		}
		h.close()
	})
}
