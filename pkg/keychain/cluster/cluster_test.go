// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var image = ref.MustParse("ghcr.io/a/b:1")

// api answers gets of one namespace, and notes them.
type api struct {
	mu       sync.Mutex
	secrets  map[string]*corev1.Secret
	accounts map[string][]string // names of pull secrets
	err      error               // instead of any answer
	hold     chan struct{}       // not nil: each answer waits for it
	asked    []string
}

func (a *api) ask(ctx context.Context, kind, namespace, name string) error {
	a.mu.Lock()
	a.asked = append(a.asked, kind+" "+namespace+"/"+name)
	hold, err := a.hold, a.err
	a.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (a *api) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	if err := a.ask(ctx, "secret", namespace, name); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.secrets[name]; s != nil {
		return s, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
}

func (a *api) ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	if err := a.ask(ctx, "serviceaccount", namespace, name); err != nil {
		return nil, err
	}
	names, ok := a.accounts[name]
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "serviceaccounts"}, name)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, n := range names {
		account.ImagePullSecrets = append(account.ImagePullSecrets, corev1.LocalObjectReference{Name: n})
	}
	return account, nil
}

// take is what was asked since the last time.
func (a *api) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := a.asked
	a.asked = nil
	return asked
}

func secret(user string) *corev1.Secret {
	return &corev1.Secret{
		Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths":{"ghcr.io":{"username":%q,"password":"canary"}}}`, user)},
	}
}

func users(creds []keychain.Credential) string {
	names := make([]string, len(creds))
	for i, c := range creds {
		names[i] = c.Auth.Username
		if c.Shared {
			names[i] += "(shared)"
		}
		if c.Unread {
			names[i] += "(unread)"
		}
	}
	return strings.Join(names, " ")
}

// TestSources has every place of a credential, what is wrong with it, and what is used all the same.
func TestSources(t *testing.T) {
	dockercfg := &corev1.Secret{Type: corev1.SecretTypeDockercfg, Data: map[string][]byte{corev1.DockerConfigKey: []byte(`{"ghcr.io":{"username":"old","password":"p"}}`)}}
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
		asked   []string
		results map[string]float64
	}{
		{
			"the pod's own",
			workload.Identity{ServiceAccount: "sa", PullSecrets: []string{"one", "two"}},
			"one two shared(shared)",
			[]string{"secret ns/one", "secret ns/two"},
			map[string]float64{"secret ok": 2},
		},
		{
			"the service account's",
			workload.Identity{ServiceAccount: "sa"},
			"two shared(shared)",
			[]string{"serviceaccount ns/sa", "secret ns/two"},
			map[string]float64{"secret ok": 1, "serviceaccount ok": 1},
		},
		{
			"the default service account's",
			workload.Identity{},
			"one shared(shared)",
			[]string{"serviceaccount ns/default", "secret ns/one"},
			map[string]float64{"secret ok": 1, "serviceaccount ok": 1},
		},
		{
			"no such account",
			workload.Identity{ServiceAccount: "none"},
			"shared(shared)",
			[]string{"serviceaccount ns/none"},
			map[string]float64{"serviceaccount missing": 1},
		},
		{"the older type", workload.Identity{PullSecrets: []string{"dockercfg"}}, "old shared(shared)", []string{"secret ns/dockercfg"}, map[string]float64{"secret ok": 1}},
		{"another type", workload.Identity{PullSecrets: []string{"opaque", "one"}}, "one shared(shared)", []string{"secret ns/one", "secret ns/opaque"}, map[string]float64{"secret unsuitable": 1, "secret ok": 1}},
		{"missing", workload.Identity{PullSecrets: []string{"none", "one"}}, "one shared(shared)", []string{"secret ns/none", "secret ns/one"}, map[string]float64{"secret missing": 1, "secret ok": 1}},
		{"malformed in part", workload.Identity{PullSecrets: []string{"half"}}, "good shared(shared)", []string{"secret ns/half"}, map[string]float64{"secret malformed": 1}},
		{"malformed", workload.Identity{PullSecrets: []string{"broken"}}, "shared(shared)", []string{"secret ns/broken"}, map[string]float64{"secret malformed": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &api{
				secrets:  map[string]*corev1.Secret{"one": secret("one"), "two": secret("two"), "dockercfg": dockercfg, "opaque": opaque, "half": half, "broken": broken},
				accounts: map[string][]string{"default": {"one"}, "sa": {"two"}},
			}
			registry := prometheus.NewPedanticRegistry()
			shared := keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
				c := keychain.Credential{Shared: true}
				c.Auth.Username = "shared"
				return []keychain.Credential{c}
			})
			c := &cluster.Cluster{Getter: a, Shared: sharedBy(shared), Metrics: cluster.NewMetrics(registry)}
			defer c.Close()
			if got := users(c.For("ns", tt.id).Credentials(t.Context(), image, false)); got != tt.want {
				t.Errorf("Credentials = %q, want %q", got, tt.want)
			}
			if diff := cmp.Diff(tt.asked, a.take(), sorted); diff != "" {
				t.Errorf("asked: -want +got\n%s", diff)
			}
			if diff := cmp.Diff(tt.results, counts(t, registry)); diff != "" {
				t.Errorf("metrics: -want +got\n%s", diff)
			}
		})
	}
}

// sorted compares lists without their order: secrets are read side by side.
var sorted = cmp.Transformer("sorted", func(list []string) map[string]bool {
	set := map[string]bool{}
	for _, s := range list {
		set[s] = true
	}
	return set
})

func counts(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if n := m.GetCounter().GetValue(); n > 0 { // some begin at 0
				got[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = n
			}
		}
	}
	return got
}

// Forbidden and failed reads are counted, and what was read before holds while the API server gives no answer, but not
// when it says that there is none any more.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{secrets: map[string]*corev1.Secret{"s": secret("one")}}
		registry := prometheus.NewRegistry()
		c := &cluster.Cluster{Getter: a, Metrics: cluster.NewMetrics(registry)}
		defer c.Close()
		k := c.For("ns", workload.Identity{PullSecrets: []string{"s"}})
		forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "s", errors.New("canary"))
		for i, step := range []struct {
			wait  time.Duration
			user  string // of the secret; empty: it is gone
			err   error
			fresh bool
			want  string
			asked int
		}{
			{0, "one", nil, false, "one", 1},
			{4 * time.Second, "two", nil, false, "one", 0}, // remembered
			{0, "two", nil, true, "two", 1},                // refused: read again
			{500 * time.Millisecond, "three", nil, true, "two", 0},
			{600 * time.Millisecond, "three", nil, true, "three", 1},
			{6 * time.Second, "four", nil, false, "four", 1},
			{6 * time.Second, "four", errors.New("connection refused"), false, "four", 1},
			{50 * time.Second, "four", errors.New("connection refused"), false, "four", 1},
			{20 * time.Second, "four", errors.New("connection refused"), false, "(unread)", 1}, // for a minute, not for ever
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
			if got := len(a.take()); got != step.asked {
				t.Errorf("step %d: %d reads, want %d", i, got, step.asked)
			}
		}
		want := map[string]float64{"secret ok": 5, "secret error": 3, "secret forbidden": 1, "secret missing": 1}
		if diff := cmp.Diff(want, counts(t, registry)); diff != "" {
			t.Errorf("metrics: -want +got\n%s", diff)
		}
	})
}

// Many who want one secret share one read, which outlives who started it; other namespaces have secrets of their own.
func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{secrets: map[string]*corev1.Secret{"s": secret("one")}, hold: make(chan struct{})}
		c := &cluster.Cluster{Getter: a}
		defer c.Close()
		k := c.For("ns", workload.Identity{PullSecrets: []string{"s"}})
		impatient, cancel := context.WithCancel(t.Context())
		results := make(chan string, 11)
		go func() { results <- users(k.Credentials(impatient, image, false)) }()
		synctest.Wait()
		for range 10 {
			go func() { results <- users(k.Credentials(t.Context(), image, false)) }()
		}
		synctest.Wait()
		cancel()
		if got := <-results; got != "(unread)" {
			t.Errorf("who left has %q, want to know that there is more", got)
		}
		close(a.hold)
		for range 10 {
			if got := <-results; got != "one" {
				t.Errorf("Credentials = %q, want one", got)
			}
		}
		c.For("other", workload.Identity{PullSecrets: []string{"s"}}).Credentials(t.Context(), image, false)
		if diff := cmp.Diff([]string{"secret ns/s", "secret other/s"}, a.take()); diff != "" {
			t.Errorf("asked: -want +got\n%s", diff)
		}
	})
}

// An API server that does not answer costs the time of one read, and Close ends what is in flight.
func TestHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{hold: make(chan struct{})}
		c := &cluster.Cluster{Getter: a, Timeout: 2 * time.Second}
		begin := time.Now()
		k := c.For("ns", workload.Identity{PullSecrets: []string{"a", "b", "c"}})
		if got := users(k.Credentials(t.Context(), image, false)); got != "(unread)" || time.Since(begin) != 2*time.Second {
			t.Errorf("Credentials = %q after %v, want none, and to know it, after 2 s", got, time.Since(begin))
		}
		done := make(chan struct{})
		go func() { k.Credentials(context.Background(), image, true); close(done) }()
		time.Sleep(1500 * time.Millisecond)
		c.Close()
		<-done
		a.take()
		if got := users(k.Credentials(t.Context(), image, false)); got != "(unread)" || len(a.take()) > 0 {
			t.Errorf("after Close: %q, want no read", got)
		}
	})
}

// One pod can't make tagpin read without end.
func TestTooMany(t *testing.T) {
	a := &api{secrets: map[string]*corev1.Secret{}}
	registry := prometheus.NewRegistry()
	c := &cluster.Cluster{Getter: a, Metrics: cluster.NewMetrics(registry)}
	defer c.Close()
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("s%d", i))
	}
	c.For("ns", workload.Identity{PullSecrets: names}).Credentials(t.Context(), image, false)
	if got := len(a.take()); got != 64 {
		t.Errorf("%d reads, want 64", got)
	}
	if got := counts(t, registry)["secret too-many"]; got != 1 {
		t.Errorf("too-many = %v, want 1", got)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("lint of the metrics: %v, %v", problems, err)
	}
}

// A look-up has at most 16 candidates, the tenant's own first. What is left out is counted.
func TestTooManyCandidates(t *testing.T) {
	a := &api{secrets: map[string]*corev1.Secret{}}
	registry := prometheus.NewRegistry()
	shared := keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
		creds := make([]keychain.Credential, 4)
		for i := range creds {
			creds[i].Auth.Username = fmt.Sprint("node", i)
			creds[i].Shared = true
		}
		return creds
	})
	c := &cluster.Cluster{Getter: a, Metrics: cluster.NewMetrics(registry), Shared: sharedBy(shared)}
	defer c.Close()
	id := workload.Identity{}
	var want []string
	for i := range 14 {
		name := fmt.Sprintf("s%d", i)
		a.secrets[name] = secret(name)
		id.PullSecrets, want = append(id.PullSecrets, name), append(want, name)
	}
	for i, tt := range []struct {
		want []string
		left float64
	}{
		{slices.Concat(want, []string{"node0(shared)", "node1(shared)"}), 2},
		{slices.Concat(want, []string{"s14", "s15"}), 8},
	} {
		got := users(c.For("ns", id).Credentials(t.Context(), image, false))
		if want := strings.Join(tt.want, " "); got != want {
			t.Errorf("Credentials, %d = %q, want %q", i, got, want)
		}
		left := fmt.Sprintf(`
# HELP tagpin_keychain_candidates_left_total Credentials that fit an image and were not tried, because 16 others come before them in the kubelet's order. Counted for each look-up.
# TYPE tagpin_keychain_candidates_left_total counter
tagpin_keychain_candidates_left_total %g
`, tt.left)
		if err := testutil.GatherAndCompare(registry, strings.NewReader(left), "tagpin_keychain_candidates_left_total"); err != nil {
			t.Error(err)
		}
		for i := 14; i < 18; i++ {
			name := fmt.Sprintf("s%d", i)
			a.secrets[name] = secret(name)
			id.PullSecrets = append(id.PullSecrets, name)
		}
	}
}

func TestNoGetter(t *testing.T) {
	c := &cluster.Cluster{}
	defer c.Close()
	if got := c.For("ns", workload.Identity{PullSecrets: []string{"s"}}).Credentials(t.Context(), image, true); got != nil {
		t.Errorf("Credentials = %v, want nothing", got)
	}
}

// BenchmarkCredentials is the warm path: what is remembered costs no read.
func BenchmarkCredentials(b *testing.B) {
	a := &api{secrets: map[string]*corev1.Secret{"s": secret("u")}, accounts: map[string][]string{"default": {"s"}}}
	c := &cluster.Cluster{Getter: a, TTL: time.Hour}
	defer c.Close()
	b.ReportAllocs()
	for b.Loop() {
		if len(c.For("ns", workload.Identity{}).Credentials(b.Context(), image, false)) != 1 {
			b.Fatal("no credential")
		}
	}
	if got := len(a.take()); got != 2 {
		b.Errorf("%d reads, want 2", got)
	}
}
