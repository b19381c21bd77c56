// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"strings"

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

// reading describes a read of each kind in the text of a panic.
var reading = map[string]string{
	secretKind: "reading a pull secret", accountKind: "reading a service account",
}

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
		Help: "Credentials that match an image and were not tried, because 16 others, or 64 KiB of" +
			" others, come before them in the kubelet's order. Counted for each lookup.",
	}), reads: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tagpin_keychain_reads_total",
		Help: "Pull secrets and service accounts read from the API server, by kind (secret," +
			" serviceaccount) and result: ok; missing; forbidden, if tagpin's role does not allow it;" +
			" malformed; unsuitable, if the secret has another type; error; too-many, if a pod names" +
			" more pull secrets than are read.",
	}, []string{"kind", "result"})}
	r.MustRegister(m.reads, m.left)
	for _, kind := range []string{secretKind, accountKind} {
		// The counters start at 0, so that increase() sees the first failure.
		for _, result := range []string{missing, forbidden, failed} {
			m.reads.WithLabelValues(kind, result)
		}
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

// content is what is kept of an object.
type content struct {
	ring    *keychain.Keyring // of a secret; nil if it has none
	secrets []string          // the names of a service account's pull secrets, in order
}

// size returns the approximate size in bytes.
func (c *content) size() int {
	size := c.ring.Size()
	for _, s := range c.secrets {
		size += 16 + len(s)
	}
	return size
}

// read reads an object. The result is failed if the API server did not answer; not found is an
// answer.
func (c *Cluster) read(ctx context.Context, k key) (read content, result string) {
	var err error
	if k.kind == accountKind {
		account := new(corev1.ServiceAccount)
		if err = c.Get(ctx, k.namespace, "serviceaccounts", k.name, account); err == nil {
			return content{secrets: pullSecrets(account)}, readOK
		}
	} else {
		secret := new(corev1.Secret)
		if err = c.Get(ctx, k.namespace, "secrets", k.name, secret); err == nil {
			read.ring, result = parse(secret)
			return read, result
		}
	}
	switch {
	case apierrors.IsNotFound(err):
		return content{}, missing
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return content{}, forbidden
	}
	return content{}, failed
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
	if err != nil || ring.Malformed > 0 {
		return ring, malformed
	}
	return ring, readOK
}

// pullSecrets returns the names of a service account's pull secrets. It returns at most one more
// than MaxPullSecrets, so that the caller sees that there are too many. The API server accepts
// names of any length; of one that is too long, it returns as much as shows that.
func pullSecrets(account *corev1.ServiceAccount) (secrets []string) {
	for _, s := range account.ImagePullSecrets {
		if s.Name != "" && len(secrets) <= workload.MaxPullSecrets {
			secrets = append(secrets, strings.Clone(s.Name[:min(len(s.Name), workload.MaxName+1)]))
		}
	}
	return secrets
}
