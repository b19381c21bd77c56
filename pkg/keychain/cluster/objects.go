// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/workload"
)

// The values of the label kind.
const (
	secretKind  = "secret"
	accountKind = "serviceaccount"
)

// The values of the label result.
const (
	readOK     = "ok"
	missing    = "missing"    // not found; the kubelet goes on without it
	forbidden  = "forbidden"  // tagpin may not read it
	malformed  = "malformed"  // the secret, or some of its entries
	unsuitable = "unsuitable" // a secret of another type
	failed     = "error"      // no answer, an error of the API server, or too many waiting reads
	tooMany    = "too-many"   // a pod names more secrets than are read
)

// Metrics counts reads. A nil *Metrics counts nothing.
type Metrics struct {
	reads *prometheus.CounterVec
	left  prometheus.Counter
}

// NewMetrics creates the metrics and registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{left: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tagpin_keychain_candidates_left_total",
		Help: "Credentials that match an image and were not tried, because 16 others come before them" +
			" in the kubelet's order. Counted for each lookup.",
	}), reads: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tagpin_keychain_reads_total",
		Help: "Pull secrets and service accounts read from the API server, by kind (secret," +
			" serviceaccount) and result: ok; missing; forbidden, if tagpin's role does not allow it;" +
			" malformed; unsuitable, if the secret has another type; error; too-many, if a pod names" +
			" more pull secrets than are read.",
	}, []string{"kind", "result"})}
	r.MustRegister(m.reads, m.left)
	for _, kind := range []string{secretKind, accountKind} {
		// The counters start at 0, so that increase() sees the first one.
		m.reads.WithLabelValues(kind, forbidden)
	}
	return m
}

func (m *Metrics) count(kind, result string) {
	if m != nil {
		m.reads.WithLabelValues(kind, result).Inc()
	}
}

func (m *Metrics) countLeft(candidates int) {
	if m != nil {
		m.left.Add(float64(candidates))
	}
}

// readSecret reads the keyring of a secret.
func (c *Cluster) readSecret(ctx context.Context, k key) (*keychain.Keyring, string) {
	secret, err := c.Getter.Secret(ctx, k.namespace, k.name)
	if err != nil {
		return nil, resultOf(err)
	}
	return parse(secret)
}

// parse parses a pull secret. Each of the two types has its own key in the secret's data.
func parse(secret *corev1.Secret) (ring *keychain.Keyring, result string) {
	var err error
	config, older := secret.Data[corev1.DockerConfigJsonKey], secret.Data[corev1.DockerConfigKey]
	switch {
	case secret.Type == corev1.SecretTypeDockerConfigJson && len(config) > 0:
		ring, err = keychain.ParseDockerConfig(config)
	case secret.Type == corev1.SecretTypeDockercfg && len(older) > 0:
		ring, err = keychain.ParseDockercfg(older)
	default:
		return nil, unsuitable
	}
	if err != nil || ring.Malformed() > 0 {
		return ring, malformed
	}
	return ring, readOK
}

// secretNames are the names of pull secrets, in order.
type secretNames []string

// Size returns the approximate size of the names in bytes.
func (n secretNames) Size() int {
	size := 0
	for _, s := range n {
		size += 16 + len(s)
	}
	return size
}

// readAccount reads the names of a service account's pull secrets. It returns at most one more than
// MaxPullSecrets, so that the caller sees that there are too many.
func (c *Cluster) readAccount(ctx context.Context, k key) (secrets secretNames, result string) {
	account, err := c.Getter.ServiceAccount(ctx, k.namespace, k.name)
	if err != nil {
		return nil, resultOf(err)
	}
	for _, s := range account.ImagePullSecrets {
		if s.Name != "" && len(secrets) <= workload.MaxPullSecrets {
			secrets = append(secrets, s.Name)
		}
	}
	return secrets, readOK
}

// resultOf returns the result of a read that has failed.
func resultOf(err error) string {
	switch {
	case apierrors.IsNotFound(err):
		return missing
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return forbidden
	}
	return failed
}
