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

	"github.com/tagpin/tagpin/pkg/certificate"
)

const day = 24 * time.Hour

const dnsName = "tagpin-webhook.tagpin-system.svc"

// store holds one secret as an API server does: an update counts for the version that was read alone. That it is as the real
// one is shown in e2e.
type store struct {
	mu      sync.Mutex
	secret  *corev1.Secret
	updates int
	err     error // of updates
}

func newStore() *store {
	return &store{secret: &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "tls", ResourceVersion: "1", Labels: map[string]string{"a": "b"}}}}
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

func (s *store) Update(_ context.Context, secret *corev1.Secret, _ metav1.UpdateOptions) (*corev1.Secret, error) {
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

func (s *store) keeper() *certificate.Secret {
	return &certificate.Secret{Client: s, Name: "tls", DNSName: dnsName}
}

func settled(*x509.Certificate) bool { return true }
func unsure(*x509.Certificate) bool  { return false }

func renew(t *testing.T, s *store, by func(*x509.Certificate) bool) *certificate.Material {
	t.Helper()
	m, err := s.keeper().Renew(t.Context(), by)
	if err != nil {
		t.Fatal(err)
	}
	if err := certificate.Verify(m.Leaf, m.Bundle(nil, true), dnsName, time.Now()); err != nil {
		t.Errorf("the leaf: %v", err)
	}
	return m
}

// Replicas that start on an empty secret at once take one certificate, and write once.
func TestReplicasConverge(t *testing.T) {
	s := newStore()
	const replicas = 8
	var wg sync.WaitGroup
	made := make([]*certificate.Material, replicas)
	for i := range replicas {
		wg.Go(func() {
			m, err := s.keeper().Renew(t.Context(), unsure)
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
			t.Errorf("a replica has %v of %d CAs, want that of the others", m.Leaf.Leaf.SerialNumber, len(m.CAs))
		}
	}
	if s.updates != 1 || s.secret.Labels["a"] != "b" {
		t.Errorf("%d updates, labels %v, want one, and all else left", s.updates, s.secret.Labels)
	}
}

// A leaf near its end is made anew by its CA; a CA near its end comes anew in two steps, and the former one goes a day later.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		first := renew(t, s, unsure)
		if again := renew(t, s, unsure); s.updates != 1 || !again.Leaf.Leaf.Equal(first.Leaf.Leaf) {
			t.Errorf("%d updates, want one: nothing is due", s.updates)
		}
		time.Sleep(70 * day)
		second := renew(t, s, unsure)
		if s.updates != 2 || second.Leaf.Leaf.Equal(first.Leaf.Leaf) || !second.CAs[0].Equal(first.CAs[0]) {
			t.Errorf("after 70 days: %d updates, leaf %v, want another of the same CA", s.updates, second.Leaf.Leaf.SerialNumber)
		}
		for time.Now().Before(first.CAs[0].NotAfter.Add(-364 * day)) {
			time.Sleep(50 * day)
			second = renew(t, s, unsure)
		}
		if len(second.CAs) != 2 || !second.CAs[1].Equal(first.CAs[0]) || !second.Issuer().Equal(first.CAs[0]) {
			t.Fatalf("near the end of the CA: %d CAs, want a new one beside the former one, which the leaf is of", len(second.CAs))
		}
		third := renew(t, s, settled)
		if len(third.CAs) != 2 || third.Issuer() != third.CAs[0] || !third.CAs[0].Equal(second.CAs[0]) {
			t.Errorf("once it is settled: %d CAs, want a leaf of the new one, and both", len(third.CAs))
		}
		if err := certificate.Verify(second.Leaf, third.Bundle(nil, true), dnsName, time.Now()); err != nil {
			t.Errorf("the former leaf is not trusted any more: %v", err)
		}
		time.Sleep(day)
		if fourth := renew(t, s, unsure); len(fourth.CAs) != 1 || !fourth.Leaf.Leaf.Equal(third.Leaf.Leaf) {
			t.Errorf("a day later: %d CAs, want the new one alone", len(fourth.CAs))
		}
	})
}

// What can't be used of a secret is made anew, and no more than that.
func TestBrokenSecret(t *testing.T) {
	for name, tt := range map[string]struct {
		breaks         func(data, other map[string][]byte)
		sameCA, leaves bool // the CA and the leaf stay
	}{
		"nothing":            {func(_, _ map[string][]byte) {}, true, true},
		"no leaf":            {func(data, _ map[string][]byte) { delete(data, "tls.crt") }, true, false},
		"garbage":            {func(data, _ map[string][]byte) { data["tls.crt"] = []byte("x") }, true, false},
		"another's leaf key": {func(data, other map[string][]byte) { data["tls.key"] = other["tls.key"] }, true, false},
		"another's leaf": {func(data, other map[string][]byte) {
			data["tls.crt"], data["tls.key"] = other["tls.crt"], other["tls.key"]
		}, true, false},
		"another's CA key": {func(data, other map[string][]byte) { data["ca.key"] = other["ca.key"] }, false, true},
		"no CA key":        {func(data, _ map[string][]byte) { data["ca.key"] = nil }, false, true},
		"no CA":            {func(data, _ map[string][]byte) { data["ca.crt"] = []byte("x") }, false, false},
		"a leaf for a CA":  {func(data, _ map[string][]byte) { data["ca.crt"], data["ca.key"] = data["tls.crt"], data["tls.key"] }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, other := newStore(), newStore()
			before := renew(t, s, unsure)
			renew(t, other, unsure)
			s.secret.Data["more"] = []byte("kept")
			tt.breaks(s.secret.Data, other.secret.Data)
			after := renew(t, s, unsure)
			if got := after.CAs[0].Equal(before.CAs[0]); got != tt.sameCA {
				t.Errorf("the CA is the same: %t, want %t", got, tt.sameCA)
			}
			if got := after.Leaf.Leaf.Equal(before.Leaf.Leaf); got != tt.leaves {
				t.Errorf("the leaf is the same: %t, want %t", got, tt.leaves)
			}
			data := maps.Clone(s.secret.Data)
			if again := renew(t, s, unsure); !again.Leaf.Leaf.Equal(after.Leaf.Leaf) || string(data["more"]) != "kept" {
				t.Errorf("what was made is made again; data %v", data)
			}
		})
	}
}

// What can't be written keeps nobody from what is there: a leaf that is good comes beside the error.
func TestCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		first := renew(t, s, unsure)
		time.Sleep(70 * day) // less than a month before its end
		for name, err := range map[string]error{
			"forbidden":      apierrors.NewForbidden(secrets, "tls", errors.New("no role")),
			"always a loser": apierrors.NewConflict(secrets, "tls", errors.New("modified")),
		} {
			s.err = err
			m, got := s.keeper().Renew(t.Context(), unsure)
			if !errors.Is(got, err) || m == nil || !m.Leaf.Leaf.Equal(first.Leaf.Leaf) || !m.CAs[0].Equal(first.CAs[0]) {
				t.Errorf("%s: Renew = %+v, %v, want what is there, and the error", name, m, got)
			}
		}
		time.Sleep(25 * day)
		if m, err := s.keeper().Renew(t.Context(), unsure); err == nil || m != nil {
			t.Errorf("when the leaf has ended: Renew = %+v, %v, want nothing", m, err)
		}
	})
}

func TestErrors(t *testing.T) {
	s := newStore()
	s.err = apierrors.NewForbidden(secrets, "tls", errors.New("no role"))
	if _, err := s.keeper().Renew(t.Context(), unsure); err == nil || !strings.Contains(err.Error(), "writing secret tls") {
		t.Errorf("Renew without the right to update = %v", err)
	}
	s.secret = nil
	if _, err := s.keeper().Renew(t.Context(), unsure); err == nil || !strings.Contains(err.Error(), "secret tls is not there") {
		t.Errorf("Renew without a secret = %v", err)
	}
}

// A replica whose clock is sixty days ahead finds that every leaf of the others is near its end, and
// makes leaves that the others can't use yet. They don't replace each other's leaf at every look, and
// nobody returns a leaf that is not valid by the clock of the one who asks.
func TestClocksThatDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		punctual, ahead := s.keeper(), s.keeper()
		ahead.Now = func() time.Time { return time.Now().Add(61 * day) }
		for range 360 {
			for _, keeper := range []*certificate.Secret{punctual, ahead} {
				now := time.Now()
				if keeper == ahead {
					now = ahead.Now()
				}
				m, _ := keeper.Renew(t.Context(), settled)
				if m == nil {
					continue // it goes on serving what it has
				}
				if err := certificate.Verify(m.Leaf, m.Bundle(nil, true), dnsName, now); err != nil {
					t.Fatalf("the leaf that Renew returned: %v", err)
				}
			}
			time.Sleep(10 * time.Second)
		}
		if s.updates > 10 {
			t.Errorf("%d updates within an hour, want at most 5 of each replica", s.updates)
		}
		if _, err := ahead.Renew(t.Context(), settled); err != nil {
			t.Errorf("an hour later: Renew = %v, want another try", err)
		}
	})
}

// Certificates are made for the time that Now returns, whatever the clock of this machine says.
func TestNow(t *testing.T) {
	s := newStore()
	keeper := s.keeper()
	now := time.Now().Add(-61 * day)
	keeper.Now = func() time.Time { return now }
	m, err := keeper.Renew(t.Context(), unsure)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*x509.Certificate{"leaf": m.Leaf.Leaf, "CA": m.CAs[0]} {
		if c.NotBefore.After(now) || now.Sub(c.NotBefore) > 2*time.Hour {
			t.Errorf("the %s begins at %v, want the hour before %v", name, c.NotBefore, now)
		}
	}
	if again, err := keeper.Renew(t.Context(), unsure); err != nil || !again.Leaf.Leaf.Equal(m.Leaf.Leaf) {
		t.Errorf("Renew = %v, and another leaf, want the same one: it is new by Now", err)
	}
}
