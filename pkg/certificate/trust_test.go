// SPDX-License-Identifier: Apache-2.0

package certificate_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/certificate"
)

// TestBundle checks that a registration keeps its CAs while leaves of other CAs may be served, and
// only has the secret's CA afterwards.
func TestBundle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		former := renew(t, newStore(), notSettled)
		s := newStore()
		m := renew(t, s, notSettled)
		bundle := m.Bundle(former.Bundle(nil, true), true)
		for name, leaf := range map[string]*certificate.Material{"new": m, "former": former} {
			if err := certificate.Verify(leaf.Leaf, bundle, dnsName, time.Now()); err != nil {
				t.Errorf("%s leaf: Verify = %v, want no error", name, err)
			}
		}
		if again := m.Bundle(bundle, true); !bytes.Equal(again, bundle) {
			t.Error("Bundle changed a bundle that was right")
		}
		invalid := []byte("-----BEGIN CERTIFICATE-----\neA==\n-----END CERTIFICATE-----\n")
		if got := m.Bundle(append(invalid, bundle...), true); len(got) != len(bundle) {
			t.Errorf("Bundle kept an invalid certificate:\n%s", got)
		}
		time.Sleep(25 * time.Hour)
		later := renew(t, s, notSettled).Bundle(bundle, true)
		if !bytes.Equal(later, m.Bundle(nil, true)) {
			t.Errorf("a day later, Bundle has more than the CA of the secret:\n%s", later)
		}
	})
}

// TestBundleIsBounded checks that a bundle has at most 4 CAs, and the leaf's CA among them.
func TestBundleIsBounded(t *testing.T) {
	var bundle []byte
	for range 10 {
		m := renew(t, newStore(), notSettled)
		bundle = m.Bundle(bundle, true)
		if got := bytes.Count(bundle, []byte("BEGIN CERTIFICATE")); got > 4 {
			t.Fatalf("%d CAs, want at most 4", got)
		}
		if err := certificate.Verify(m.Leaf, bundle, dnsName, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerify(t *testing.T) {
	m, other := renew(t, newStore(), notSettled), renew(t, newStore(), notSettled)
	for name, tt := range map[string]struct {
		bundle []byte
		dns    string
		ok     bool
	}{
		"its CA":           {m.Bundle(nil, true), dnsName, true},
		"another name":     {m.Bundle(nil, true), "other.tagpin-system.svc", false},
		"another CA":       {other.Bundle(nil, true), dnsName, false},
		"the system's CAs": {nil, dnsName, false},
		"garbage":          {[]byte("x"), dnsName, false},
	} {
		if err := certificate.Verify(m.Leaf, tt.bundle, tt.dns, time.Now()); (err == nil) != tt.ok {
			t.Errorf("%s: Verify = %v, want success: %t", name, err, tt.ok)
		}
	}
}

// TestSightings checks that a CA is settled after it was in every bundle for ten seconds without a
// gap.
func TestSightings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, other := renew(t, newStore(), notSettled), renew(t, newStore(), notSettled)
		ca, mine, both := m.CAs[0], m.Bundle(nil, true), m.Bundle(other.Bundle(nil, true), true)
		var s certificate.Sightings
		check := func(when string, wantSettled, wantKnown bool) {
			t.Helper()
			isSettled, isKnown := s.Settled(ca), s.Known(ca, time.Now())
			if isSettled != wantSettled || isKnown != wantKnown {
				t.Errorf("%s: Settled = %t, Known = %t, want %t and %t",
					when, isSettled, isKnown, wantSettled, wantKnown)
			}
		}
		check("before Note", false, false)
		s.Note(mine, both)
		check("first seen", false, false)
		time.Sleep(9 * time.Second)
		s.Note(both, mine)
		check("after nine seconds", false, false)
		time.Sleep(time.Second)
		s.Note(mine)
		check("after ten seconds", true, true)
		s.Note(mine, other.Bundle(nil, true))
		check("missing in one bundle", false, false)
		time.Sleep(time.Minute)
		s.Note(mine)
		check("old, but added later", false, false)
		s.Note()
		check("no registration", false, false)
	})
}

// TestKnown checks that a CA counts as known if it was there at the first call of Note and is not
// new. A CA that was added later does not, even if it is old.
func TestKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, other := renew(t, newStore(), notSettled), renew(t, newStore(), notSettled)
		mine, others := m.Bundle(nil, true), other.Bundle(nil, true)
		both := m.Bundle(others, true)
		time.Sleep(time.Hour)
		young := renew(t, newStore(), notSettled)
		for name, tt := range map[string]struct {
			notes [][][]byte // the bundles of each call of Note
			want  bool
		}{
			"there at first":              {[][][]byte{{mine, both}}, true},
			"there at first and later":    {[][][]byte{{mine}, {both}}, true},
			"added later":                 {[][][]byte{{others}, {both}}, false},
			"added to no bundle":          {[][][]byte{{}, {mine}}, false},
			"added to one of two bundles": {[][][]byte{{mine, others}, {mine, both}}, false},
			"removed and added again":     {[][][]byte{{both}, {others}, {both}}, false},
			"removed":                     {[][][]byte{{both}, {others}}, false},
		} {
			var s certificate.Sightings
			for _, bundles := range tt.notes {
				s.Note(bundles...)
			}
			if got := s.Known(m.CAs[0], time.Now()); got != tt.want {
				t.Errorf("%s: Known = %t, want %t", name, got, tt.want)
			}
		}
		var s certificate.Sightings
		s.Note(young.Bundle(nil, true))
		if s.Known(young.CAs[0], time.Now()) {
			t.Error("new CA that is there at first: Known = true, want false")
		}
	})
}
