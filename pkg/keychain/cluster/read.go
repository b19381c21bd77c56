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

// What is read, and what came of it: the labels of the metric.
const (
	secretKind  = "secret"
	accountKind = "serviceaccount"

	readOK     = "ok"
	missing    = "missing"    // there is none: the kubelet goes on without it
	forbidden  = "forbidden"  // tagpin may not read it: its RBAC
	malformed  = "malformed"  // whole, or some of its entries
	unsuitable = "unsuitable" // a secret of another type
	failed     = "error"      // no answer of the API server in time, an error of its own, or too many reads of the namespace
	tooMany    = "too-many"   // a pod names more secrets than are read
)

// Metrics counts reads. Its labels are closed sets. A nil *Metrics counts nothing.
type Metrics struct {
	reads *prometheus.CounterVec
	left  prometheus.Counter
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{left: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tagpin_keychain_candidates_left_total",
		Help: "Credentials that fit an image and were not tried, because 16 others come before them" +
			" in the kubelet's order. Counted for each look-up.",
	}), reads: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tagpin_keychain_reads_total",
		Help: "Pull secrets and service accounts read from the API server, by kind (secret, serviceaccount) and result: ok; missing; forbidden, where a role lacks; malformed; unsuitable, of another type; error; too-many in one pod.",
	}, []string{"kind", "result"})}
	r.MustRegister(m.reads, m.left)
	for _, kind := range []string{secretKind, accountKind} {
		m.reads.WithLabelValues(kind, forbidden) // from 0 on, so that the first one is an increase
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

func (c *Cluster) readSecret(ctx context.Context, k key) (*keychain.Keyring, bool) {
	secret, err := c.Getter.Secret(ctx, k.namespace, k.name)
	if err != nil {
		return nil, c.failed(secretKind, err)
	}
	ring, result := parse(secret)
	c.Metrics.count(secretKind, result)
	return ring, true
}

// parse reads a secret of either type, by the type's own key.
func parse(secret *corev1.Secret) (*keychain.Keyring, string) {
	var ring *keychain.Keyring
	var err error
	switch {
	case secret.Type == corev1.SecretTypeDockerConfigJson && len(secret.Data[corev1.DockerConfigJsonKey]) > 0:
		ring, err = keychain.ParseDockerConfig(secret.Data[corev1.DockerConfigJsonKey])
	case secret.Type == corev1.SecretTypeDockercfg && len(secret.Data[corev1.DockerConfigKey]) > 0:
		ring, err = keychain.ParseDockercfg(secret.Data[corev1.DockerConfigKey])
	default:
		return nil, unsuitable
	}
	if err != nil || ring.Malformed() > 0 {
		return ring, malformed
	}
	return ring, readOK
}

// names are a service account's pull secrets, in order.
type names []string

// Size is about how many bytes they hold.
func (n names) Size() int {
	size := 0
	for _, s := range n {
		size += 16 + len(s)
	}
	return size
}

// readAccount reads the names of the pull secrets of a service account: those that are used, and
// one more if there are more.
func (c *Cluster) readAccount(ctx context.Context, k key) (names, bool) {
	account, err := c.Getter.ServiceAccount(ctx, k.namespace, k.name)
	if err != nil {
		return nil, c.failed(accountKind, err)
	}
	c.Metrics.count(accountKind, readOK)
	var secrets names
	for _, s := range account.ImagePullSecrets {
		if s.Name != "" && len(secrets) <= workload.MaxPullSecrets {
			secrets = append(secrets, s.Name)
		}
	}
	return secrets, true
}

// failed counts a failed read, and tells whether it was an answer all the same.
func (c *Cluster) failed(kind string, err error) bool {
	result := failed
	switch {
	case apierrors.IsNotFound(err):
		result = missing
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		result = forbidden
	}
	c.Metrics.count(kind, result)
	return result != failed
}
