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

// named is the Keychain of a pod that names the secrets.
func named(c *cluster.Cluster, secrets ...string) keychain.Keychain {
	return c.For("ns", workload.Identity{PullSecrets: secrets})
}

// What is remembered is bounded by number: what has not been wanted for longest is read again.
func TestBoundedByNumber(t *testing.T) {
	a := &api{secrets: map[string]*corev1.Secret{"a": secret("a"), "b": secret("b"), "c": secret("c")}}
	c := &cluster.Cluster{Getter: a, Size: 2, TTL: time.Hour}
	defer c.Close()
	for _, name := range []string{"a", "b", "a", "c", "a", "b"} {
		if got := users(named(c, name).Credentials(t.Context(), image, false)); got != name {
			t.Errorf("Credentials = %q, want %q", got, name)
		}
	}
	want := []string{"secret ns/a", "secret ns/b", "secret ns/c", "secret ns/b"}
	if diff := cmp.Diff(want, a.take()); diff != "" {
		t.Errorf("asked: -want +got\n%s", diff)
	}
}

// It is bounded by bytes as well: of large secrets some are kept, but by far not all.
func TestBoundedByBytes(t *testing.T) {
	a := &api{secrets: map[string]*corev1.Secret{}}
	var large []string
	for i := range 100 {
		large = append(large, fmt.Sprintf("large%d", i))
		a.secrets[large[i]] = secret(strings.Repeat("u", 1000))
	}
	c := &cluster.Cluster{Getter: a, TTL: time.Hour, Bytes: 20_000}
	defer c.Close()
	for _, name := range large {
		named(c, name).Credentials(t.Context(), image, false)
	}
	a.take()
	kept := 0
	for _, name := range slices.Backward(large) { // what is remembered pushes nothing out when it is wanted
		named(c, name).Credentials(t.Context(), image, false)
		if len(a.take()) > 0 {
			break
		}
		kept++
	}
	if kept < 10 || kept > 20 {
		t.Errorf("%d secrets of 1000 bytes are remembered, want some, of 20000 bytes at most", kept)
	}
}

// What one namespace makes tagpin remember does not push out what others have.
func TestNamespacesShareMemory(t *testing.T) {
	a := &api{secrets: map[string]*corev1.Secret{"s": secret("u")}}
	for i := range 100 {
		a.secrets[fmt.Sprint("large", i)] = secret(strings.Repeat("u", 1000))
	}
	for name, c := range map[string]*cluster.Cluster{
		"by number": {Getter: a, TTL: time.Hour, Size: 20},
		"by bytes":  {Getter: a, TTL: time.Hour, Bytes: 20_000},
	} {
		t.Run(name, func(t *testing.T) {
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
				t.Errorf("asked: -want +got\n%s", diff)
			}
		})
	}
}

// A panic while a secret is read costs that secret alone, and is not met again and again.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{secrets: map[string]*corev1.Secret{"s": secret("u")}}
		ill := panicking{api: a, name: "ill"}
		var caught []*panics.Error
		registry := prometheus.NewRegistry()
		c := &cluster.Cluster{
			Getter: ill, Metrics: cluster.NewMetrics(registry),
			Panics: &panics.Reporter{Report: func(err *panics.Error) { caught = append(caught, err) }},
		}
		defer c.Close()
		for range 3 {
			got := users(named(c, "ill", "s").Credentials(t.Context(), image, false))
			if got != "u (unread)" {
				t.Errorf("Credentials = %q, want u, and that there is more", got)
			}
		}
		if len(caught) != 1 || len(caught[0].Stack) == 0 {
			t.Errorf("%d panics are reported, want one, with its stack", len(caught))
		}
		if got := counts(t, registry)["secret error"]; got != 1 {
			t.Errorf("%v reads with an error, want one", got)
		}
	})
}

// panicking is an API server whose one secret makes its reader panic.
type panicking struct {
	*api
	name string
}

func (p panicking) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	if name == p.name {
		panic("a mistake in a parser")
	}
	return p.api.Secret(ctx, namespace, name)
}

// A service account's names are weighed too, and a secret that outweighs everything is used, but not remembered.
func TestTooLargeToRemember(t *testing.T) {
	a := &api{secrets: map[string]*corev1.Secret{"s": secret("u")}, accounts: map[string][]string{"default": {"s"}}}
	c := &cluster.Cluster{Getter: a, TTL: time.Hour, Bytes: 1}
	defer c.Close()
	for range 2 {
		if got := users(c.For("ns", workload.Identity{}).Credentials(t.Context(), image, false)); got != "u" {
			t.Errorf("Credentials = %q, want u", got)
		}
		want := []string{"serviceaccount ns/default", "secret ns/s"}
		if diff := cmp.Diff(want, a.take()); diff != "" {
			t.Errorf("asked: -want +got\n%s", diff)
		}
	}
}

// What is no name of an object is not asked for: it is an author's text, and would be remembered.
func TestImpossibleNames(t *testing.T) {
	a := &api{secrets: map[string]*corev1.Secret{"s": secret("u")}}
	c := &cluster.Cluster{Getter: a}
	defer c.Close()
	long := strings.Repeat("x", 254)
	if got := users(named(c, long, "", "..", "a/b", "a%2fb", "s").Credentials(t.Context(), image, false)); got != "u" {
		t.Errorf("Credentials = %q, want u", got)
	}
	for _, k := range []keychain.Keychain{
		c.For(long, workload.Identity{PullSecrets: []string{"s"}}),
		c.For("ns", workload.Identity{ServiceAccount: long}),
		c.For("ns", workload.Identity{ServiceAccount: "../secrets/s"}),
	} {
		if got := k.Credentials(t.Context(), image, false); got != nil {
			t.Errorf("Credentials = %v, want nothing", got)
		}
	}
	if diff := cmp.Diff([]string{"secret ns/s"}, a.take()); diff != "" {
		t.Errorf("asked: -want +got\n%s", diff)
	}
}

// A read that got no answer is tried again after a second, not only when what is remembered is old.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{secrets: map[string]*corev1.Secret{"s": secret("u")}, err: errors.New("connection refused")}
		c := &cluster.Cluster{Getter: a}
		defer c.Close()
		for i, step := range []struct {
			wait  time.Duration
			err   error
			want  string
			asked int
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
			if got := len(a.take()); got != step.asked {
				t.Errorf("step %d: %d reads, want %d", i, got, step.asked)
			}
		}
	})
}

// An account whose secrets are not known hides them all; what the shared sources have is used. Of a secret that was not
// there a while ago it is known that there is none.
func TestUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{}
		shared := keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
			return []keychain.Credential{{Auth: authn.AuthConfig{Username: "node"}, Shared: true}}
		})
		c := &cluster.Cluster{Getter: a, Shared: sharedBy(shared)}
		defer c.Close()
		if got, want := users(named(c, "gone").Credentials(t.Context(), image, false)), "node(shared)"; got != want {
			t.Errorf("Credentials of what is not there = %q, want %q", got, want)
		}
		time.Sleep(10 * time.Second)
		a.mu.Lock()
		a.err = errors.New("connection refused")
		a.mu.Unlock()
		if got, want := users(named(c, "gone").Credentials(t.Context(), image, false)), "node(shared)"; got != want {
			t.Errorf("Credentials of what was not there = %q, want %q", got, want)
		}
		for _, id := range []workload.Identity{{}, {PullSecrets: []string{"a", "b"}}} {
			if got, want := users(c.For("ns", id).Credentials(t.Context(), image, false)), "(unread) node(shared)"; got != want {
				t.Errorf("Credentials of %v = %q, want %q", id, got, want)
			}
		}
	})
}

// The pod's own credential is not tried a second time as the shared one.
func TestSharedOnce(t *testing.T) {
	a := &api{secrets: map[string]*corev1.Secret{"s": secret("same")}}
	shared := keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
		return []keychain.Credential{
			{Auth: authn.AuthConfig{Username: "same", Password: "canary"}, Shared: true},
			{Auth: authn.AuthConfig{Username: "node", Password: "canary"}, Shared: true},
		}
	})
	c := &cluster.Cluster{Getter: a, Shared: sharedBy(shared)}
	defer c.Close()
	if got, want := users(named(c, "s").Credentials(t.Context(), image, false)), "same node(shared)"; got != want {
		t.Errorf("Credentials = %q, want %q", got, want)
	}
}

// A context that has ended costs nothing but what is read: the look-up goes on with what there is.
func TestCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{secrets: map[string]*corev1.Secret{"known": secret("known"), "s": secret("u")}}
		c := &cluster.Cluster{Getter: a, TTL: time.Hour}
		defer c.Close()
		named(c, "known").Credentials(t.Context(), image, false)
		a.mu.Lock()
		a.hold = make(chan struct{})
		a.mu.Unlock()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := users(named(c, "s", "known").Credentials(ctx, image, false)); got != "known (unread)" {
			t.Errorf("Credentials = %q, want what is known, and that there is more", got)
		}
		close(a.hold)
	})
}
