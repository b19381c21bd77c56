// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var image = ref.MustParse("ghcr.io/a/b:1")

// TestSources checks where credentials come from, and that what is invalid is counted and left out.
func TestSources(t *testing.T) {
	dockercfg := &corev1.Secret{Type: corev1.SecretTypeDockercfg, Data: map[string][]byte{
		corev1.DockerConfigKey: []byte(`{"ghcr.io":{"username":"old","password":"p"}}`),
	}}
	opaque := secret("opaque")
	opaque.Type = corev1.SecretTypeOpaque
	half := secret("x")
	half.Data[corev1.DockerConfigJsonKey] = []byte(`{"auths":{"ghcr.io":{"username":"good","password":"p"},"quay.io":"canary"}}`)
	broken := secret("x")
	broken.Data[corev1.DockerConfigJsonKey] = []byte(`canary`)
	for _, tt := range []struct {
		name    string
		id      workload.Identity
		want    string
		calls   []string
		results map[string]float64
	}{
		{
			"secrets of the pod",
			workload.Identity{ServiceAccount: "sa", PullSecrets: []string{"one", "two"}},
			"one two shared(shared)",
			[]string{"secret ns/one", "secret ns/two"},
			map[string]float64{"secret ok": 2},
		},
		{
			"secrets of the service account",
			workload.Identity{ServiceAccount: "sa"},
			"two shared(shared)",
			[]string{"serviceaccount ns/sa", "secret ns/two"},
			map[string]float64{"secret ok": 1, "serviceaccount ok": 1},
		},
		{
			"secrets of the default service account",
			workload.Identity{},
			"one shared(shared)",
			[]string{"serviceaccount ns/default", "secret ns/one"},
			map[string]float64{"secret ok": 1, "serviceaccount ok": 1},
		},
		{
			"missing service account",
			workload.Identity{ServiceAccount: "none"},
			"shared(shared)",
			[]string{"serviceaccount ns/none"},
			map[string]float64{"serviceaccount missing": 1},
		},
		{"older type", workload.Identity{PullSecrets: []string{"dockercfg"}}, "old shared(shared)", []string{"secret ns/dockercfg"}, map[string]float64{"secret ok": 1}},
		{"another type", workload.Identity{PullSecrets: []string{"opaque", "one"}}, "one shared(shared)", []string{"secret ns/one", "secret ns/opaque"}, map[string]float64{"secret unsuitable": 1, "secret ok": 1}},
		{"missing secret", workload.Identity{PullSecrets: []string{"none", "one"}}, "one shared(shared)", []string{"secret ns/none", "secret ns/one"}, map[string]float64{"secret missing": 1, "secret ok": 1}},
		{"one malformed entry", workload.Identity{PullSecrets: []string{"half"}}, "good shared(shared)", []string{"secret ns/half"}, map[string]float64{"secret malformed": 1}},
		{"malformed secret", workload.Identity{PullSecrets: []string{"broken"}}, "shared(shared)", []string{"secret ns/broken"}, map[string]float64{"secret malformed": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &api{
				secrets: map[string]*corev1.Secret{
					"one": secret("one"), "two": secret("two"), "dockercfg": dockercfg,
					"opaque": opaque, "half": half, "broken": broken,
				},
				accounts: map[string][]string{"default": {"one"}, "sa": {"two"}},
			}
			registry := prometheus.NewPedanticRegistry()
			c := &cluster.Cluster{
				Get: a.get, Shared: sharedUsers("shared"), Metrics: cluster.NewMetrics(registry),
			}
			defer c.Close()
			if got := users(c.For("ns", tt.id).Credentials(t.Context(), image, false)); got != tt.want {
				t.Errorf("Credentials = %q, want %q", got, tt.want)
			}
			if diff := cmp.Diff(tt.calls, a.take(), sorted); diff != "" {
				t.Errorf("calls: -want +got\n%s", diff)
			}
			if diff := cmp.Diff(tt.results, counts(t, registry)); diff != "" {
				t.Errorf("metrics: -want +got\n%s", diff)
			}
		})
	}
}

// TestTTL checks how long a secret is remembered. The last value stays for a minute while the API
// server does not answer, but not if it says that the secret is forbidden or does not exist.
func TestTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{secrets: map[string]*corev1.Secret{"s": secret("one")}}
		registry := prometheus.NewRegistry()
		c := &cluster.Cluster{Get: a.get, Metrics: cluster.NewMetrics(registry)}
		defer c.Close()
		k := named(c, "s")
		forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "s", errors.New("canary"))
		for i, step := range []struct {
			wait  time.Duration
			user  string // of the secret; "" if it does not exist
			err   error
			fresh bool
			want  string
			reads int
		}{
			{0, "one", nil, false, "one", 1},
			{4 * time.Second, "two", nil, false, "one", 0}, // still remembered
			{0, "two", nil, true, "two", 1},                // read again because it was refused
			{500 * time.Millisecond, "three", nil, true, "two", 0},
			{600 * time.Millisecond, "three", nil, true, "three", 1},
			{6 * time.Second, "four", nil, false, "four", 1},
			{6 * time.Second, "four", errors.New("connection refused"), false, "four", 1},
			{50 * time.Second, "four", errors.New("connection refused"), false, "four", 1},
			{20 * time.Second, "four", errors.New("connection refused"), false, "(unread)", 1}, // after more than a minute
			{6 * time.Second, "five", nil, false, "five", 1},
			{6 * time.Second, "five", forbidden, false, "", 1},
			{6 * time.Second, "", nil, false, "", 1},
		} {
			time.Sleep(step.wait)
			a.mu.Lock()
			a.err, a.secrets["s"] = step.err, nil
			if step.user != "" {
				a.secrets["s"] = secret(step.user)
			}
			a.mu.Unlock()
			if got := users(k.Credentials(t.Context(), image, step.fresh)); got != step.want {
				t.Errorf("step %d: Credentials = %q, want %q", i, got, step.want)
			}
			if got := len(a.take()); got != step.reads {
				t.Errorf("step %d: %d reads, want %d", i, got, step.reads)
			}
		}
		want := map[string]float64{"secret ok": 5, "secret error": 3, "secret forbidden": 1, "secret missing": 1}
		if diff := cmp.Diff(want, counts(t, registry)); diff != "" {
			t.Errorf("metrics: -want +got\n%s", diff)
		}
	})
}

// TestSharedRead checks that callers that want the same secret at the same time share one read, and
// that the read goes on if one of them gives up. Namespaces don't share reads.
func TestSharedRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{secrets: map[string]*corev1.Secret{"s": secret("one")}, hold: make(chan struct{})}
		c := &cluster.Cluster{Get: a.get}
		defer c.Close()
		k := named(c, "s")
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan string, 11)
		go func() { results <- users(k.Credentials(ctx, image, false)) }()
		synctest.Wait()
		for range 10 {
			go func() { results <- users(k.Credentials(t.Context(), image, false)) }()
		}
		synctest.Wait()
		cancel()
		if got := <-results; got != "(unread)" {
			t.Errorf("cancelled caller: Credentials = %q, want (unread)", got)
		}
		close(a.hold)
		for range 10 {
			if got := <-results; got != "one" {
				t.Errorf("Credentials = %q, want one", got)
			}
		}
		c.For("other", workload.Identity{PullSecrets: []string{"s"}}).Credentials(t.Context(), image, false)
		if diff := cmp.Diff([]string{"secret ns/s", "secret other/s"}, a.take()); diff != "" {
			t.Errorf("calls: -want +got\n%s", diff)
		}
	})
}

// TestHanging checks that a read ends after the timeout, and that Close ends the reads that are
// under way.
func TestHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{hold: make(chan struct{})}
		c := &cluster.Cluster{Get: a.get}
		begin := time.Now()
		k := named(c, "a", "b", "c")
		got := users(k.Credentials(t.Context(), image, false))
		if took := time.Since(begin); got != "(unread)" || took != 2*time.Second {
			t.Errorf("Credentials = %q after %v, want (unread) after 2 s", got, took)
		}
		done := make(chan struct{})
		go func() { k.Credentials(context.Background(), image, true); close(done) }()
		time.Sleep(1500 * time.Millisecond)
		c.Close()
		<-done
		a.take()
		got = users(k.Credentials(t.Context(), image, false))
		if n := len(a.take()); got != "(unread)" || n > 0 {
			t.Errorf("after Close: Credentials = %q, %d reads, want (unread) without a read", got, n)
		}
	})
}

// TestNoGet checks that a Cluster without a Get returns no credentials.
func TestNoGet(t *testing.T) {
	c := &cluster.Cluster{}
	defer c.Close()
	if got := named(c, "s").Credentials(t.Context(), image, true); got != nil {
		t.Errorf("Credentials = %v, want nil", got)
	}
}

// BenchmarkCredentials measures Credentials when everything is remembered.
func BenchmarkCredentials(b *testing.B) {
	a := &api{
		secrets:  map[string]*corev1.Secret{"s": secret("u")},
		accounts: map[string][]string{"default": {"s"}},
	}
	c := &cluster.Cluster{Get: a.get}
	defer c.Close()
	b.ReportAllocs()
	for b.Loop() {
		if len(c.For("ns", workload.Identity{}).Credentials(b.Context(), image, false)) != 1 {
			b.Fatal("Credentials returned none, want one")
		}
	}
	if got := len(a.take()); got > 2 && got >= b.N {
		b.Errorf("%d reads in %d calls, want most answered from memory", got, b.N)
	}
}
