// SPDX-License-Identifier: Apache-2.0

// Package certificate makes the certificate that the webhook serves with, and its CA; keeps them in a secret that all replicas
// share; and renews them, so that no call fails meanwhile.
//
//	secret := &certificate.Secret{Client: core.Secrets(namespace), Name: "tagpin-webhook-tls", DNSName: "tagpin-webhook.tagpin-system.svc"}
//	material, err := secret.Renew(ctx, sightings.Settled)
//
// Every replica does so by itself, without a leader: an update counts only for the version of the secret that was read, so that
// of several replicas on an empty secret one is first, and the others take what it made.
//
// A new CA comes in two steps. First it is added to the secret and to the registration, beside the former one, whose leaf is
// served on. When all API servers trust it (Sightings), the leaf is made by it, and each replica takes that up when it sees it.
// A day later the former CA is dropped. So at any time whoever reads the secret gets a leaf that is trusted.
//
// The secret is read by name, never listed or watched, and never created.
package certificate

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Client reads and writes the secrets of a namespace; client-go's is one.
type Client interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (*corev1.Secret, error)
	Update(ctx context.Context, secret *corev1.Secret, options metav1.UpdateOptions) (*corev1.Secret, error)
}

// Secret is where the certificates are kept. It is for one goroutine at a time.
type Secret struct {
	Client Client
	// Name of the secret. It has to be there; it may be empty.
	Name string
	// DNSName is what the leaf is for.
	DNSName string
	// Renewed is told of what was made or dropped. Default: nobody is.
	Renewed func(*Material)
	// Now returns the time that certificates are made for and judged by. The clock of the API server
	// is the best one, since the API server is the client that verifies them. Default: time.Now.
	Now func() time.Time

	renewals []time.Time // when this process has written, by its own clock, the oldest first
}

// A replica renews at most maxRenewals times within renewalSpan. Otherwise two replicas that disagree
// about the time could replace each other's certificates for ever: for a clock that is sixty days
// ahead, every leaf that the others make is near its end.
const (
	maxRenewals = 5
	renewalSpan = time.Hour
)

// attempts bounds how often another replica may be first: the one that was has renewed everything, unless they were made to
// differ by their versions or clocks.
const attempts = 5

// Renew reads the secret, renews what is missing or near its end, and returns what it holds then: beside an error too, where
// it can't be renewed but has a leaf that is good. settled tells whether all API servers trust a CA; of a new one they don't
// until it has stood in the registration for a while.
func (s *Secret) Renew(ctx context.Context, settled func(*x509.Certificate) bool) (m *Material, err error) {
	for range attempts {
		if m, err = s.renew(ctx, settled); !apierrors.IsConflict(err) {
			break
		}
	}
	return m, err
}

func (s *Secret) renew(ctx context.Context, settled func(*x509.Certificate) bool) (*Material, error) {
	secret, err := s.Client.Get(ctx, s.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("secret %s is not there: install it, empty, with the manifests", s.Name)
	case err != nil:
		return nil, fmt.Errorf("reading secret %s: %w", s.Name, err)
	}
	now := s.now()
	held := parse(secret.Data, s.DNSName, now)
	next, err := held.renew(s.DNSName, now, settled)
	if err != nil {
		err = fmt.Errorf("making a certificate: %w", err)
	} else if !next.same(held) {
		if err = s.mayRenew(time.Now()); err == nil {
			err = s.write(ctx, secret, next)
		}
	}
	switch {
	case err == nil:
		return next, nil
	case held.Leaf == nil:
		return nil, err
	}
	return held, err
}

func (s *Secret) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// mayRenew returns why the secret may not be written yet, by this replica.
func (s *Secret) mayRenew(now time.Time) error {
	s.renewals = slices.DeleteFunc(s.renewals, func(t time.Time) bool {
		return now.Sub(t) >= renewalSpan
	})
	if len(s.renewals) < maxRenewals {
		return nil
	}
	return fmt.Errorf("secret %s is due, but this replica has renewed it %d times within %s, so it waits: "+
		"something undoes that; compare the clocks of the nodes", s.Name, len(s.renewals), renewalSpan)
}

func (s *Secret) write(ctx context.Context, secret *corev1.Secret, m *Material) error {
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	if err := m.store(secret.Data); err != nil {
		return fmt.Errorf("encoding a certificate: %w", err)
	}
	if _, err := s.Client.Update(ctx, secret, metav1.UpdateOptions{FieldManager: "tagpin-webhook"}); err != nil {
		return fmt.Errorf("writing secret %s: %w", s.Name, err)
	}
	s.renewals = append(s.renewals, time.Now())
	if s.Renewed != nil {
		s.Renewed(m)
	}
	return nil
}
