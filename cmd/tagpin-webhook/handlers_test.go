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
	"github.com/tagpin/tagpin/pkg/resolve"
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

// Digests outlive an edit of the config, so that an operator who edits it while a registry is down
// takes nothing away from the pods that wait.
func TestReloadKeepsAnswers(t *testing.T) {
	h, err := newHandlers(config.Default(), logr.Discard(), prometheus.NewRegistry(), apiServer{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	pod := resolve.Request{Ref: ref.MustParse("registry.invalid/a:1"), Namespace: "team"}
	answer := resolve.Result{Digest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
	before := &resolve.Cache{
		Next:    resolve.Func(func(context.Context, resolve.Request) (resolve.Result, error) { return answer, nil }),
		Answers: h.answers, Settings: h.current.Load().client.Settings,
	}
	if _, err := before.Resolve(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	c := *h.current.Load().config
	c.Cache.Size, c.MaxInFlightPerNamespace = 7, 3
	c.Network.Deny = []string{"192.0.2.0/24"}
	c.Registries = append([]config.Registry{{Host: "other.example", Timeout: c.Registries[0].Timeout, MaxInFlight: 1, RequestsPerSecond: 1}}, c.Registries...)
	if err := h.load(&c); err != nil {
		t.Fatal(err)
	}
	if got, err := h.current.Load().cache.Resolve(t.Context(), pod); err != nil || got.Digest != answer.Digest || !got.Cached {
		t.Errorf("after the edit: %+v, %v, want the digest that is remembered", got, err)
	}
}

// What a reload replaces is closed when the last review that began with it has ended, and what it
// takes over is not.
func TestReplacedIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := asked{reads: make(chan string, 10)}
		h, err := newHandlers(config.Default(), logr.Discard(), prometheus.NewRegistry(), apiServer{getter: a, lister: refusing{}})
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

// What pods run is learnt anew when the labels change by which revisions are told apart.
func TestRevisionLabelsReload(t *testing.T) {
	h, err := newHandlers(config.Default(), logr.Discard(), prometheus.NewRegistry(), apiServer{lister: refusing{}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	load := func(labels ...string) *state {
		c := *h.current.Load().config
		c.RevisionLabels = labels
		if err := h.load(&c); err != nil {
			t.Fatal(err)
		}
		return h.current.Load()
	}
	first := load("app")
	if second := load("app"); second.siblings != first.siblings {
		t.Error("with the same labels: learnt anew")
	}
	if third := load("app", "role"); third.siblings == first.siblings || len(third.siblings.RevisionLabels) != 2 {
		t.Error("with another label: not learnt anew")
	}
}
