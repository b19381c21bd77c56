// SPDX-License-Identifier: Apache-2.0

package certificate_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/certificate"
)

// While leaves of others may be served, what a registration trusts stays; then the secret's CA is all.
func TestBundle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		former := renew(t, newStore(), unsure)
		s := newStore()
		m := renew(t, s, unsure)
		bundle := m.Bundle(former.Bundle(nil, true), true)
		for name, leaf := range map[string]*certificate.Material{"new": m, "former": former} {
			if err := certificate.Verify(leaf.Leaf, bundle, dnsName, time.Now()); err != nil {
				t.Errorf("the %s leaf: %v", name, err)
			}
		}
		if again := m.Bundle(bundle, true); !bytes.Equal(again, bundle) {
			t.Error("a bundle that is as it should be is changed")
		}
		if mended := m.Bundle(append([]byte("-----BEGIN CERTIFICATE-----\neA==\n-----END CERTIFICATE-----\n"), bundle...), true); len(mended) != len(bundle) {
			t.Errorf("what is no certificate stays:\n%s", mended)
		}
		time.Sleep(25 * time.Hour)
		if later := renew(t, s, unsure).Bundle(bundle, true); !bytes.Equal(later, m.Bundle(nil, true)) {
			t.Errorf("a day later the former CA is still there:\n%s", later)
		}
	})
}

// However many CAs there were, few are trusted: the newest, and that of the leaf.
func TestBundleIsBounded(t *testing.T) {
	var bundle []byte
	for range 10 {
		m := renew(t, newStore(), unsure)
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
	m, other := renew(t, newStore(), unsure), renew(t, newStore(), unsure)
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
			t.Errorf("%s: Verify = %v, want it to succeed: %t", name, err, tt.ok)
		}
	}
}

// A CA is settled when it has stood in every bundle without a gap.
func TestSightings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, other := renew(t, newStore(), unsure), renew(t, newStore(), unsure)
		ca, mine, both := m.CAs[0], m.Bundle(nil, true), m.Bundle(other.Bundle(nil, true), true)
		var s certificate.Sightings
		want := func(when string, isSettled, known bool) {
			t.Helper()
			if s.Settled(ca) != isSettled || s.Known(ca, time.Now()) != known {
				t.Errorf("%s: Settled %t, Known %t, want %t, %t", when, s.Settled(ca), s.Known(ca, time.Now()), isSettled, known)
			}
		}
		want("at first", false, false)
		s.Note(mine, both)
		want("just seen", false, false)
		time.Sleep(9 * time.Second)
		s.Note(both, mine)
		want("seen for nine seconds", false, false)
		time.Sleep(time.Second)
		s.Note(mine)
		want("seen for ten", true, true)
		s.Note(mine, other.Bundle(nil, true))
		want("with a gap", false, false)
		time.Sleep(time.Minute)
		s.Note(mine)
		want("an old one, seen to come", false, false)
		s.Note()
		want("without a registration", false, false)
	})
}

// Who has just started takes a CA that is there already, if it is not new; not one that it has seen come, however old it is.
func TestKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, other := renew(t, newStore(), unsure), renew(t, newStore(), unsure)
		mine, others := m.Bundle(nil, true), other.Bundle(nil, true)
		both := m.Bundle(others, true)
		time.Sleep(time.Hour)
		young := renew(t, newStore(), unsure)
		for name, tt := range map[string]struct {
			notes [][][]byte // each of some bundles
			want  bool
		}{
			"there at first":                 {[][][]byte{{mine, both}}, true},
			"there at first, and still":      {[][][]byte{{mine}, {both}}, true},
			"seen to come":                   {[][][]byte{{others}, {both}}, false},
			"seen to come where nothing was": {[][][]byte{{}, {mine}}, false},
			"seen to come in one of two":     {[][][]byte{{mine, others}, {mine, both}}, false},
			"gone and back":                  {[][][]byte{{both}, {others}, {both}}, false},
			"gone":                           {[][][]byte{{both}, {others}}, false},
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
			t.Error("a new one that is there at first: Known = true, want false")
		}
	})
}
