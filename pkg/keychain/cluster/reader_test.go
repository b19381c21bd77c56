// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// named returns the Keychain of a pod that names secrets.
func named(c *cluster.Cluster, secrets ...string) keychain.Keychain {
	return c.For("ns", workload.Identity{PullSecrets: secrets})
}

// TestBoundedByNumber checks that the secret that was not used for longest is forgotten first.
func TestBoundedByNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{secrets: map[string]*corev1.Secret{"a": secret("a"), "b": secret("b"), "c": secret("c")}}
		c := cluster.Bounded(a.get, 2, 0)
		defer c.Close()
		for _, name := range []string{"a", "b", "a", "c", "a", "b"} {
			if got := users(named(c, name).Credentials(t.Context(), image, false)); got != name {
				t.Errorf("Credentials = %q, want %q", got, name)
			}
		}
		want := []string{"secret ns/a", "secret ns/b", "secret ns/c", "secret ns/b"}
		if diff := cmp.Diff(want, a.take()); diff != "" {
			t.Errorf("calls: -want +got\n%s", diff)
		}
	})
}

// TestBoundedByBytes checks that the size of the remembered secrets has a maximum.
func TestBoundedByBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{secrets: map[string]*corev1.Secret{}}
		var large []string
		for i := range 100 {
			large = append(large, fmt.Sprintf("large%d", i))
			a.secrets[large[i]] = secret(strings.Repeat("u", 1000))
		}
		c := cluster.Bounded(a.get, 0, 20_000)
		defer c.Close()
		for _, name := range large {
			named(c, name).Credentials(t.Context(), image, false)
		}
		a.take()
		kept := 0
		for _, name := range slices.Backward(large) { // the remembered ones come first
			named(c, name).Credentials(t.Context(), image, false)
			if len(a.take()) > 0 {
				break
			}
			kept++
		}
		if kept < 10 || kept > 20 {
			t.Errorf("%d secrets of 1000 bytes are remembered, want 10 to 20", kept)
		}
	})
}

// TestNamespacesShareMemory checks that many secrets of one namespace don't push out those of
// another one.
func TestNamespacesShareMemory(t *testing.T) {
	a := &api{secrets: map[string]*corev1.Secret{"s": secret("u")}}
	for i := range 100 {
		a.secrets[fmt.Sprint("large", i)] = secret(strings.Repeat("u", 1000))
	}
	for name, tt := range map[string]struct{ objects, bytes int }{
		"by number": {20, 0},
		"by bytes":  {0, 20_000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := cluster.Bounded(a.get, tt.objects, tt.bytes)
				defer c.Close()
				quiet := c.For("quiet", workload.Identity{PullSecrets: []string{"s"}})
				quiet.Credentials(t.Context(), image, false)
				for i := range 100 {
					loud := workload.Identity{PullSecrets: []string{fmt.Sprint("large", i)}}
					c.For("loud", loud).Credentials(t.Context(), image, false)
				}
				a.take()
				quiet.Credentials(t.Context(), image, false)
				if diff := cmp.Diff([]string(nil), a.take()); diff != "" {
					t.Errorf("calls: -want +got\n%s", diff)
				}
			})
		})
	}
}

// TestPanic checks that a panic while a secret is read fails only that secret, and does not occur
// again at once.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{secrets: map[string]*corev1.Secret{"s": secret("u")}}
		broken := panickingAPI{api: a, name: "broken"}
		var caught []*panics.Error
		registry := prometheus.NewRegistry()
		c := &cluster.Cluster{
			Get: broken.get, Metrics: cluster.NewMetrics(registry),
			Panics: &panics.Reporter{Report: func(err *panics.Error) { caught = append(caught, err) }},
		}
		defer c.Close()
		for range 3 {
			got := users(named(c, "broken", "s").Credentials(t.Context(), image, false))
			if got != "u (unread)" {
				t.Errorf("Credentials = %q, want u and a mark", got)
			}
		}
		if len(caught) != 1 || len(caught[0].Stack) == 0 {
			t.Errorf("%d panics reported, want one, with its stack", len(caught))
		}
		if got := counts(t, registry)["secret error"]; got != 1 {
			t.Errorf("%v reads with an error, want 1", got)
		}
	})
}

// panickingAPI is an api that panics when one of its secrets is read.
type panickingAPI struct {
	*api
	name string
}

func (p panickingAPI) get(
	ctx context.Context, namespace, resource, name string, into any,
) error {
	if name == p.name {
		panic("a bug in a parser")
	}
	return p.api.get(ctx, namespace, resource, name, into)
}

// TestTooLargeToRemember checks that objects that are larger than the maximum are used but not
// remembered.
func TestTooLargeToRemember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{
			secrets:  map[string]*corev1.Secret{"s": secret("u")},
			accounts: map[string][]string{"default": {"s"}},
		}
		c := cluster.Bounded(a.get, 0, 1)
		defer c.Close()
		for range 2 {
			account := c.For("ns", workload.Identity{})
			if got := users(account.Credentials(t.Context(), image, false)); got != "u" {
				t.Errorf("Credentials = %q, want u", got)
			}
			want := []string{"serviceaccount ns/default", "secret ns/s"}
			if diff := cmp.Diff(want, a.take()); diff != "" {
				t.Errorf("calls: -want +got\n%s", diff)
			}
		}
	})
}

// TestInvalidNames checks that objects with invalid names are not read.
func TestInvalidNames(t *testing.T) {
	a := &api{secrets: map[string]*corev1.Secret{"s": secret("u")}}
	c := &cluster.Cluster{Get: a.get}
	defer c.Close()
	long := strings.Repeat("x", 254)
	k := named(c, long, "", "..", "a/b", "a%2fb", "s")
	if got := users(k.Credentials(t.Context(), image, false)); got != "u" {
		t.Errorf("Credentials = %q, want u", got)
	}
	for _, k := range []keychain.Keychain{
		c.For(long, workload.Identity{PullSecrets: []string{"s"}}),
		c.For("ns", workload.Identity{ServiceAccount: long}),
		c.For("ns", workload.Identity{ServiceAccount: "../secrets/s"}),
	} {
		if got := k.Credentials(t.Context(), image, false); got != nil {
			t.Errorf("Credentials = %v, want nil", got)
		}
	}
	if diff := cmp.Diff([]string{"secret ns/s"}, a.take()); diff != "" {
		t.Errorf("calls: -want +got\n%s", diff)
	}
}

// TestNoAnswer checks that a read that got no answer is repeated after a second.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{
			secrets: map[string]*corev1.Secret{"s": secret("u")},
			err:     errors.New("connection refused"),
		}
		c := &cluster.Cluster{Get: a.get}
		defer c.Close()
		for i, step := range []struct {
			wait  time.Duration
			err   error
			want  string
			reads int
		}{
			{0, errors.New("connection refused"), "(unread)", 1},
			{500 * time.Millisecond, nil, "(unread)", 0},
			{600 * time.Millisecond, nil, "u", 1},
			{4 * time.Second, nil, "u", 0},
		} {
			time.Sleep(step.wait)
			a.mu.Lock()
			a.err = step.err
			a.mu.Unlock()
			if got := users(named(c, "s").Credentials(t.Context(), image, false)); got != step.want {
				t.Errorf("step %d: Credentials = %q, want %q", i, got, step.want)
			}
			if got := len(a.take()); got != step.reads {
				t.Errorf("step %d: %d reads, want %d", i, got, step.reads)
			}
		}
	})
}

// TestUnread checks that secrets or a service account that can't be read lead to a mark, and that
// the shared credentials are used. A secret that did not exist a short time ago needs no mark.
func TestUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{}
		c := &cluster.Cluster{Get: a.get, Shared: sharedUsers("node")}
		defer c.Close()
		missing := named(c, "missing")
		const want = "node(shared)"
		if got := users(missing.Credentials(t.Context(), image, false)); got != want {
			t.Errorf("missing secret: Credentials = %q, want %q", got, want)
		}
		time.Sleep(10 * time.Second)
		a.mu.Lock()
		a.err = errors.New("connection refused")
		a.mu.Unlock()
		if got := users(missing.Credentials(t.Context(), image, false)); got != want {
			t.Errorf("secret that was missing: Credentials = %q, want %q", got, want)
		}
		for _, id := range []workload.Identity{{}, {PullSecrets: []string{"a", "b"}}} {
			got := users(c.For("ns", id).Credentials(t.Context(), image, false))
			if want := "(unread) node(shared)"; got != want {
				t.Errorf("identity %v: Credentials = %q, want %q", id, got, want)
			}
		}
	})
}

// TestSharedOnce checks that a shared credential that is also the pod's own is not tried twice.
func TestSharedOnce(t *testing.T) {
	a := &api{secrets: map[string]*corev1.Secret{"s": secret("same")}}
	shared := keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
		return []keychain.Credential{
			{Auth: authn.AuthConfig{Username: "same", Password: "canary"}, Shared: true},
			{Auth: authn.AuthConfig{Username: "node", Password: "canary"}, Shared: true},
		}
	})
	c := &cluster.Cluster{Get: a.get, Shared: sharedBy(shared)}
	defer c.Close()
	got := users(named(c, "s").Credentials(t.Context(), image, false))
	if want := "same node(shared)"; got != want {
		t.Errorf("Credentials = %q, want %q", got, want)
	}
}

// TestCancelled checks that the remembered secrets are used if the context has ended.
func TestCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{
			secrets: map[string]*corev1.Secret{"known": secret("known"), "s": secret("u")},
		}
		c := &cluster.Cluster{Get: a.get}
		defer c.Close()
		named(c, "known").Credentials(t.Context(), image, false)
		a.mu.Lock()
		a.hold = make(chan struct{})
		a.mu.Unlock()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		got := users(named(c, "s", "known").Credentials(ctx, image, false))
		if got != "known (unread)" {
			t.Errorf("Credentials = %q, want known and a mark", got)
		}
		close(a.hold)
	})
}
