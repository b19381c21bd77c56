// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// asked is a refusing API server that sends the names of the secrets that are read.
type asked struct {
	refusing
	reads chan string
}

func (a asked) get(ctx context.Context, namespace, resource, name string, into any) error {
	a.reads <- name
	return a.refusing.get(ctx, namespace, resource, name, into)
}

// TestReloadKeepsAnswers checks that a new config keeps the digests, so that pods that wait don't
// suffer if an operator edits the config while a registry is down.
func TestReloadKeepsAnswers(t *testing.T) {
	h, err := newHandlers(config.Default(), logr.Discard(), prometheus.NewRegistry(), apiServer{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	pod := resolve.Request{Ref: ref.MustParse("registry.invalid/a:1"), Namespace: "team"}
	answer := resolve.Result{Digest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
	before := &resolve.Cache{
		Next: resolve.Func(func(context.Context, resolve.Request) (resolve.Result, error) {
			return answer, nil
		}),
		Answers: h.answers, Client: h.current.Load().client,
	}
	if _, err := before.Resolve(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	c := *h.current.Load().config
	c.Cache.Size, c.MaxInFlightPerNamespace = 7, 3
	c.Network.Deny = []string{"192.0.2.0/24"}
	other := config.Registry{
		Host: "other.example", Timeout: c.Registries[0].Timeout, MaxInFlight: 1, RequestsPerSecond: 1,
	}
	c.Registries = append([]config.Registry{other}, c.Registries...)
	if err := h.load(&c); err != nil {
		t.Fatal(err)
	}
	got, err := h.current.Load().cache.Resolve(t.Context(), pod)
	if err != nil || got.Digest != answer.Digest || !got.Cached {
		t.Errorf("after the edit: Resolve = %+v, %v, want the cached digest", got, err)
	}
}

// TestReplacedIsClosed checks that a part that a new config replaces is closed when the last review
// that began with it has ended, and that a part that stays is not closed.
func TestReplacedIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := asked{reads: make(chan string, 10)}
		h, err := newHandlers(config.Default(), logr.Discard(), prometheus.NewRegistry(),
			apiServer{get: a.get, list: refusing{}.list})
		if err != nil {
			t.Fatal(err)
		}
		reads := func(s *state, secret string) bool {
			before := len(a.reads)
			identity := workload.Identity{PullSecrets: []string{secret}}
			image := ref.MustParse("a.example/b:1")
			s.credentials.For("team", identity).Credentials(t.Context(), image, false)
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
			t.Error("closed although a review that began with it is under way")
		}
		first.reviews.Done()
		if !closed() || reads(second, "two") {
			t.Error("not closed although the last review has ended")
		}
		if !reads(h.current.Load(), "three") {
			t.Error("the current part is closed")
		}
		load(func(c *config.Config) { c.Cache.Size = 6 })
		if !closed() || !reads(h.current.Load(), "four") {
			t.Error("the part that stays is closed")
		}
		h.close()
	})
}

// TestRevisionLabelsReload checks that the siblings are looked up again when the labels of
// revisions change.
func TestRevisionLabelsReload(t *testing.T) {
	h, err := newHandlers(config.Default(), logr.Discard(), prometheus.NewRegistry(),
		apiServer{list: refusing{}.list})
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
		t.Error("same labels: new siblings, want the former ones")
	}
	if third := load("app", "role"); third.siblings == first.siblings || len(third.siblings.RevisionLabels) != 2 {
		t.Error("another label: the former siblings, want new ones")
	}
}

// TestCloudOff checks whose registries need an identity that the config does not switch on.
func TestCloudOff(t *testing.T) {
	off := cloudOff([]string{"google"})
	for host, want := range map[string]string{
		"team.azurecr.io": "azure", "123456789012.dkr.ecr.eu-west-1.amazonaws.com": "amazon",
		"gcr.io": "", "ghcr.io": "",
	} {
		if got := off(host); got != want {
			t.Errorf("cloudOff(%s) = %q, want %q", host, got, want)
		}
	}
}

// TestSharedConfigInRunbook checks that a shared Docker config that can't be parsed is logged with
// its path, in a line that the runbook of TagpinDenies names.
func TestSharedConfigInRunbook(t *testing.T) {
	const line = "shared Docker config"
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	var logged string
	log := funcr.New(func(_, line string) { logged += line }, funcr.Options{})
	c := *config.Default()
	c.Credentials.DockerConfig = path
	h, err := newHandlers(&c, log, prometheus.NewRegistry(), apiServer{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	h.current.Load().credentials.For("team", workload.Identity{}).Credentials(
		t.Context(), ref.MustParse("registry.invalid/a:1"), false)
	if !strings.Contains(logged, line) || !strings.Contains(logged, path) {
		t.Errorf("logged %q, want %q and the path", logged, line)
	}
	if !strings.Contains(runbook(t, "TagpinDenies"), "`"+line+"`") {
		t.Errorf("the runbook of TagpinDenies lacks %q", line)
	}
}
