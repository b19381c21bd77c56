// SPDX-License-Identifier: Apache-2.0

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
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/util/retry"
)

// Secret keeps the certificates. All fields are required unless they say otherwise. It is not safe
// for concurrent use.
type Secret struct {
	Client corev1client.SecretInterface
	// Name is the name of the secret. The secret must exist, but may be empty.
	Name string
	// DNSName is the DNS name of the leaf.
	DNSName string
	// Renewed is called after the secret was written. If nil, it is not called.
	Renewed func(*Material)
	// Now returns the time at which certificates begin and are checked. The clock of the API server
	// is the best one, because the API server is the client that verifies them.
	Now func() time.Time

	renewals []time.Time // when this process wrote the secret, by its own clock, oldest first
}

// A replica writes the secret at most maxRenewals times within renewalSpan. Otherwise two replicas
// that ask API servers whose clocks differ could replace each other's certificates forever: if the
// clock of one is sixty days ahead, every leaf of the other seems to be near its end.
const (
	maxRenewals = 5
	renewalSpan = time.Hour
)

// Renew reads the secret, renews the certificates that are missing or near their end, and returns
// what the secret has then. settled reports whether all API servers trust a CA. They don't trust a
// new one until it has been in the registration for a while.
//
// If the renewal fails but the secret has a valid leaf, Renew returns the old material with the
// error.
func (s *Secret) Renew(
	ctx context.Context, settled func(*x509.Certificate) bool,
) (m *Material, err error) {
	// If another replica was faster, it has renewed everything, unless its version differs or the
	// clock of the API server that it asks.
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		m, err = s.renew(ctx, settled)
		return err
	})
	return m, err
}

// renew makes one attempt to renew.
func (s *Secret) renew(
	ctx context.Context, settled func(*x509.Certificate) bool,
) (*Material, error) {
	secret, err := s.Client.Get(ctx, s.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("secret %s does not exist: "+
			"apply the manifests, which have it as an empty secret", s.Name)
	case err != nil:
		return nil, fmt.Errorf("reading secret %s: %w", s.Name, err)
	}
	current := parse(secret.Data, s.DNSName, s.Now())
	next, err := current.renew(s.DNSName, settled)
	if err != nil {
		err = fmt.Errorf("creating a certificate: %w", err)
	} else if next.Leaf != current.Leaf || !slices.Equal(next.CAs, current.CAs) {
		err = s.write(ctx, secret, next)
	}
	switch {
	case err == nil:
		return next, nil
	case current.Leaf == nil:
		return nil, err
	}
	return current, err
}

// mayRenew returns an error if this replica has written the secret too often to write it again now.
func (s *Secret) mayRenew() error {
	s.renewals = slices.DeleteFunc(s.renewals, func(t time.Time) bool {
		return time.Since(t) >= renewalSpan
	})
	if len(s.renewals) < maxRenewals {
		return nil
	}
	return fmt.Errorf("secret %s must be renewed, but this replica has renewed it %d times within %s"+
		" and waits: something reverts the renewal; see who writes the secret (managedFields), and "+
		"compare the clocks of the API servers",
		s.Name, len(s.renewals), renewalSpan)
}

// write stores the material in the secret.
func (s *Secret) write(ctx context.Context, secret *corev1.Secret, m *Material) error {
	if err := s.mayRenew(); err != nil {
		return err
	}
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	if err := m.store(secret.Data); err != nil {
		return fmt.Errorf("encoding a certificate: %w", err)
	}
	options := metav1.UpdateOptions{FieldManager: "tagpin-webhook"}
	if _, err := s.Client.Update(ctx, secret, options); err != nil {
		return fmt.Errorf("writing secret %s: %w", s.Name, err)
	}
	s.renewals = append(s.renewals, time.Now())
	if s.Renewed != nil {
		s.Renewed(m)
	}
	return nil
}
