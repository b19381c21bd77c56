// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tagpin/tagpin/pkg/keychain"
)

// api is an API server with one namespace. It records its calls.
type api struct {
	mu       sync.Mutex
	secrets  map[string]*corev1.Secret
	accounts map[string][]string // the names of pull secrets
	err      error               // the error of each call, if not nil
	hold     chan struct{}       // if not nil, each call waits until it is closed
	calls    []string
}

// call records a call and returns its error.
func (a *api) call(ctx context.Context, kind, namespace, name string) error {
	a.mu.Lock()
	a.calls = append(a.calls, kind+" "+namespace+"/"+name)
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

// get is a cluster.Get.
func (a *api) get(ctx context.Context, namespace, resource, name string, into any) error {
	kind := strings.TrimSuffix(resource, "s")
	if err := a.call(ctx, kind, namespace, name); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch into := into.(type) {
	case *corev1.Secret:
		if s := a.secrets[name]; s != nil {
			*into = *s
			return nil
		}
	case *corev1.ServiceAccount:
		names, ok := a.accounts[name]
		for _, n := range names {
			into.ImagePullSecrets = append(into.ImagePullSecrets, corev1.LocalObjectReference{Name: n})
		}
		if ok {
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{Resource: resource}, name)
}

// take returns the calls since its last call.
func (a *api) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	calls := a.calls
	a.calls = nil
	return calls
}

// secret returns a pull secret with a credential for ghcr.io.
func secret(user string) *corev1.Secret {
	config := fmt.Appendf(nil, `{"auths":{"ghcr.io":{"username":%q,"password":"canary"}}}`, user)
	return &corev1.Secret{
		Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: config},
	}
}

// users returns the user names of credentials, with their marks.
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

// sorted compares lists as sets, because secrets are read at the same time.
var sorted = cmp.Transformer("sorted", func(list []string) map[string]bool {
	set := map[string]bool{}
	for _, s := range list {
		set[s] = true
	}
	return set
})

// counts returns the counters that are not 0, by their two labels.
func counts(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if n := m.GetCounter().GetValue(); n > 0 {
				got[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = n
			}
		}
	}
	return got
}
