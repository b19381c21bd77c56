// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/workload"
)

// TestHangingAPIServer checks that the last content of an object is used for a minute while the API
// server accepts requests and does not answer, also if the lookup ends before the read, or before
// its turn to read.
func TestHangingAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{
			secrets:  map[string]*corev1.Secret{"s": secret("u")},
			accounts: map[string][]string{"default": {"s"}},
		}
		c := &cluster.Cluster{Get: a.get}
		defer c.Close()
		account := c.For("ns", workload.Identity{})
		wantUsers := func(when string, limit time.Duration, want string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if got := users(account.Credentials(ctx, image, false)); got != want {
				t.Errorf("%s: Credentials = %q, want %q", when, got, want)
			}
		}
		wantUsers("at first", time.Minute, "u")
		a.mu.Lock()
		a.hold = make(chan struct{})
		a.mu.Unlock()
		defer close(a.hold)
		time.Sleep(6 * time.Second)
		wantUsers("hangs", time.Minute, "u")
		time.Sleep(2 * time.Second)
		wantUsers("hangs for longer than the lookup", time.Second/2, "u")
		for i := range 3 {
			go named(c, fmt.Sprint("other", i)).Credentials(t.Context(), image, false)
		}
		synctest.Wait()
		wantUsers("hangs for the lookups before", time.Second/2, "u")
		time.Sleep(time.Minute)
		wantUsers("hangs for a minute", time.Minute, "(unread)")
	})
}

// TestSlowAPIServer checks that a pod with many secrets gets its credentials although they can't be
// read within the time of one lookup: the next one begins with those that were not read.
func TestSlowAPIServer(t *testing.T) {
	for _, tt := range []struct {
		latency time.Duration
		want    []string // of each lookup
	}{
		{150 * time.Millisecond, []string{"u", "u", "u"}},
		{300 * time.Millisecond, []string{"(unread)", "u", "u"}},
		{500 * time.Millisecond, []string{"(unread)", "(unread)", "u"}},
	} {
		t.Run(tt.latency.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &api{secrets: map[string]*corev1.Secret{"s63": secret("u")}}
				slow := func(ctx context.Context, namespace, resource, name string, into any) error {
					select {
					case <-time.After(tt.latency):
						return a.get(ctx, namespace, resource, name, into)
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				c := &cluster.Cluster{Get: slow}
				defer c.Close()
				var names []string
				for i := range 64 {
					names = append(names, fmt.Sprint("s", i))
				}
				for i, want := range tt.want {
					if got := users(named(c, names...).Credentials(t.Context(), image, false)); got != want {
						t.Errorf("lookup %d: Credentials = %q, want %q", i, got, want)
					}
					time.Sleep(10 * time.Second)
				}
			})
		})
	}
}
