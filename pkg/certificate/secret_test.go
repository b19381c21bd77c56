// SPDX-License-Identifier: Apache-2.0

package certificate_test

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/tagpin/tagpin/pkg/certificate"
)

const day = 24 * time.Hour

const dnsName = "tagpin-webhook.tagpin-system.svc"

// store is a client with one secret. Like an API server, it refuses an update of another version
// than the current one.
type store struct {
	corev1client.SecretInterface
	mu      sync.Mutex
	secret  *corev1.Secret
	updates int
	err     error // the error of updates
}

func newStore() *store {
	return &store{secret: &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Name: "tls", ResourceVersion: "1", Labels: map[string]string{"a": "b"},
	}}}
}

var secrets = schema.GroupResource{Resource: "secrets"}

func (s *store) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secret == nil || s.secret.Name != name {
		return nil, apierrors.NewNotFound(secrets, name)
	}
	return s.secret.DeepCopy(), nil
}

func (s *store) Update(
	_ context.Context, secret *corev1.Secret, _ metav1.UpdateOptions,
) (*corev1.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return nil, s.err
	case s.secret.ResourceVersion != secret.ResourceVersion:
		return nil, apierrors.NewConflict(secrets, secret.Name, errors.New("modified"))
	}
	s.updates++
	s.secret = secret.DeepCopy()
	s.secret.ResourceVersion = strconv.Itoa(s.updates + 1)
	return s.secret.DeepCopy(), nil
}

// renewer returns a Secret for the store, as each replica has one.
func (s *store) renewer() *certificate.Secret {
	return &certificate.Secret{Client: s, Name: "tls", DNSName: dnsName, Now: time.Now}
}

func settled(*x509.Certificate) bool    { return true }
func notSettled(*x509.Certificate) bool { return false }

// renew renews the secret and checks that the leaf is trusted.
func renew(
	t *testing.T, s *store, settled func(*x509.Certificate) bool,
) *certificate.Material {
	t.Helper()
	m, err := s.renewer().Renew(t.Context(), settled)
	if err != nil {
		t.Fatal(err)
	}
	if err := certificate.Verify(m.Leaf, m.Bundle(nil, true), dnsName, time.Now()); err != nil {
		t.Errorf("Verify of the leaf = %v, want no error", err)
	}
	return m
}

// TestReplicasConverge checks that replicas that start at the same time with an empty secret write
// it once and use the same certificate.
func TestReplicasConverge(t *testing.T) {
	s := newStore()
	const replicas = 8
	var wg sync.WaitGroup
	made := make([]*certificate.Material, replicas)
	for i := range replicas {
		wg.Go(func() {
			m, err := s.renewer().Renew(t.Context(), notSettled)
			if err != nil {
				t.Error(err)
				return
			}
			made[i] = m
		})
	}
	wg.Wait()
	for _, m := range made {
		if m != nil && (!m.Leaf.Leaf.Equal(made[0].Leaf.Leaf) || len(m.CAs) != 1) {
			t.Errorf("a replica has the leaf %v and %d CAs, want the leaf of the others and one CA",
				m.Leaf.Leaf.SerialNumber, len(m.CAs))
		}
	}
	if s.updates != 1 || s.secret.Labels["a"] != "b" {
		t.Errorf("%d updates, labels %v, want 1 update and the labels unchanged", s.updates, s.secret.Labels)
	}
}

// TestRotation checks that a leaf near its end is renewed by its CA. A CA near its end is replaced
// in two steps, and dropped a day later.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		first := renew(t, s, notSettled)
		if again := renew(t, s, notSettled); s.updates != 1 || !again.Leaf.Leaf.Equal(first.Leaf.Leaf) {
			t.Errorf("%d updates, want 1, because nothing is near its end", s.updates)
		}
		time.Sleep(70 * day)
		second := renew(t, s, notSettled)
		if s.updates != 2 || second.Leaf.Leaf.Equal(first.Leaf.Leaf) ||
			!second.CAs[0].Equal(first.CAs[0]) {
			t.Errorf("after 70 days: %d updates, leaf %v, want 2 updates and a new leaf of the same CA",
				s.updates, second.Leaf.Leaf.SerialNumber)
		}
		for time.Now().Before(first.CAs[0].NotAfter.Add(-364 * day)) {
			time.Sleep(50 * day)
			second = renew(t, s, notSettled)
		}
		if len(second.CAs) != 2 || !second.CAs[1].Equal(first.CAs[0]) ||
			!second.Issuer().Equal(first.CAs[0]) {
			t.Fatalf("near the end of the CA: %d CAs, want a new CA, and the former one with its leaf",
				len(second.CAs))
		}
		third := renew(t, s, settled)
		if len(third.CAs) != 2 || third.Issuer() != third.CAs[0] || !third.CAs[0].Equal(second.CAs[0]) {
			t.Errorf("settled: %d CAs, want both CAs and a leaf of the new one", len(third.CAs))
		}
		bundle := third.Bundle(nil, true)
		if err := certificate.Verify(second.Leaf, bundle, dnsName, time.Now()); err != nil {
			t.Errorf("Verify of the former leaf = %v, want it still trusted", err)
		}
		time.Sleep(day)
		fourth := renew(t, s, notSettled)
		if len(fourth.CAs) != 1 || !fourth.Leaf.Leaf.Equal(third.Leaf.Leaf) {
			t.Errorf("a day later: %d CAs, want only the new one", len(fourth.CAs))
		}
	})
}

// TestBrokenSecret checks that Renew replaces what can't be used, and keeps everything else.
func TestBrokenSecret(t *testing.T) {
	for name, tt := range map[string]struct {
		breaks           func(data, other map[string][]byte)
		sameCA, sameLeaf bool // the CA and the leaf are kept
	}{
		"unchanged":                  {func(_, _ map[string][]byte) {}, true, true},
		"no leaf":                    {func(data, _ map[string][]byte) { delete(data, "tls.crt") }, true, false},
		"invalid leaf":               {func(data, _ map[string][]byte) { data["tls.crt"] = []byte("x") }, true, false},
		"leaf key of another secret": {func(data, other map[string][]byte) { data["tls.key"] = other["tls.key"] }, true, false},
		"leaf and key of another secret": {func(data, other map[string][]byte) {
			data["tls.crt"], data["tls.key"] = other["tls.crt"], other["tls.key"]
		}, true, false},
		"CA key of another secret": {func(data, other map[string][]byte) { data["ca.key"] = other["ca.key"] }, false, true},
		"no CA key":                {func(data, _ map[string][]byte) { data["ca.key"] = nil }, false, true},
		"invalid CA":               {func(data, _ map[string][]byte) { data["ca.crt"] = []byte("x") }, false, false},
		"leaf instead of the CA":   {func(data, _ map[string][]byte) { data["ca.crt"], data["ca.key"] = data["tls.crt"], data["tls.key"] }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, other := newStore(), newStore()
			before := renew(t, s, notSettled)
			renew(t, other, notSettled)
			s.secret.Data["more"] = []byte("kept")
			tt.breaks(s.secret.Data, other.secret.Data)
			after := renew(t, s, notSettled)
			if got := after.CAs[0].Equal(before.CAs[0]); got != tt.sameCA {
				t.Errorf("the CA is the same: %t, want %t", got, tt.sameCA)
			}
			if got := after.Leaf.Leaf.Equal(before.Leaf.Leaf); got != tt.sameLeaf {
				t.Errorf("the leaf is the same: %t, want %t", got, tt.sameLeaf)
			}
			data := maps.Clone(s.secret.Data)
			if again := renew(t, s, notSettled); !again.Leaf.Leaf.Equal(after.Leaf.Leaf) || string(data["more"]) != "kept" {
				t.Errorf("Renew replaced what it had created, or changed other data: %v", data)
			}
		})
	}
}

// TestCannotBeWritten checks that Renew returns the secret's material with the error if the update
// fails and the leaf is valid.
func TestCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		first := renew(t, s, notSettled)
		time.Sleep(70 * day) // until the leaf is near its end
		for name, err := range map[string]error{
			"forbidden": apierrors.NewForbidden(secrets, "tls", errors.New("no role")),
			"conflicts": apierrors.NewConflict(secrets, "tls", errors.New("modified")),
		} {
			s.err = err
			m, got := s.renewer().Renew(t.Context(), notSettled)
			if !errors.Is(got, err) || m == nil ||
				!m.Leaf.Leaf.Equal(first.Leaf.Leaf) || !m.CAs[0].Equal(first.CAs[0]) {
				t.Errorf("%s: Renew = %+v, %v, want the present material and the error", name, m, got)
			}
		}
		time.Sleep(25 * day)
		if m, err := s.renewer().Renew(t.Context(), notSettled); err == nil || m != nil {
			t.Errorf("after the end of the leaf: Renew = %+v, %v, want nil and an error", m, err)
		}
	})
}

func TestErrors(t *testing.T) {
	s := newStore()
	s.err = apierrors.NewForbidden(secrets, "tls", errors.New("no role"))
	_, err := s.renewer().Renew(t.Context(), notSettled)
	if err == nil || !strings.Contains(err.Error(), "writing secret tls") {
		t.Errorf("update is forbidden: Renew = %v, want an error about writing", err)
	}
	s.secret = nil
	_, err = s.renewer().Renew(t.Context(), notSettled)
	if err == nil || !strings.Contains(err.Error(), "secret tls does not exist") {
		t.Errorf("no secret: Renew = %v, want an error that says so", err)
	}
}

// TestClocksThatDiffer has a replica whose API server has a clock that is sixty days ahead. To it,
// every leaf of the other replica is near its end, and the other one can't use its leaves yet. The
// test checks that they don't replace each other's leaf all the time, that each returns only leaves
// that are valid by the clock of its API server, and that an error names these clocks.
func TestClocksThatDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		punctual, ahead := s.renewer(), s.renewer()
		ahead.Now = func() time.Time { return time.Now().Add(61 * day) }
		var waits string
		for range 360 {
			for _, replica := range []*certificate.Secret{punctual, ahead} {
				now := time.Now()
				if replica == ahead {
					now = ahead.Now()
				}
				m, err := replica.Renew(t.Context(), settled)
				if err != nil {
					waits = err.Error()
				}
				if m == nil {
					continue // the replica goes on with the leaf that it has
				}
				if err := certificate.Verify(m.Leaf, m.Bundle(nil, true), dnsName, now); err != nil {
					t.Fatalf("Verify of the leaf = %v, want no error", err)
				}
			}
			time.Sleep(10 * time.Second)
		}
		if !strings.Contains(waits, "compare the clocks of the API servers") {
			t.Errorf("Renew = %q, want an error with whose clocks may be wrong", waits)
		}
		if s.updates > 10 {
			t.Errorf("%d updates within an hour, want at most 5 by each replica", s.updates)
		}
		if _, err := ahead.Renew(t.Context(), settled); err != nil {
			t.Errorf("an hour later: Renew = %v, want no error", err)
		}
	})
}

// TestNow checks that certificates begin at the time that Now returns, and are checked at that
// time.
func TestNow(t *testing.T) {
	s := newStore()
	replica := s.renewer()
	now := time.Now().Add(-61 * day)
	replica.Now = func() time.Time { return now }
	m, err := replica.Renew(t.Context(), notSettled)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*x509.Certificate{"leaf": m.Leaf.Leaf, "CA": m.CAs[0]} {
		if c.NotBefore.After(now) || now.Sub(c.NotBefore) > 2*time.Hour {
			t.Errorf("the %s begins at %v, want at most 2 h before %v", name, c.NotBefore, now)
		}
	}
	again, err := replica.Renew(t.Context(), notSettled)
	if err != nil || !again.Leaf.Leaf.Equal(m.Leaf.Leaf) {
		t.Errorf("Renew = %v, or it returned another leaf, want the same leaf: it is new by Now", err)
	}
}
