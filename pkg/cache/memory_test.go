// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryForgetsTheOldest(t *testing.T) {
	m := &Memory[string, int]{Size: 2}
	m.Put("a", 1, 0)
	m.Put("b", 2, 0)
	m.Get("a")
	m.Put("c", 3, 0)
	for key, want := range map[string]bool{"a": true, "b": false, "c": true} {
		if _, ok := m.Get(key); ok != want {
			t.Errorf("Get(%s) found a value: %t, want %t", key, ok, want)
		}
	}
	if m.Resize(1, 0); m.Len() != 1 {
		t.Errorf("Len() after Resize(1) = %d, want 1", m.Len())
	}
}

func TestMemoryExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Memory[string, int]{}
		m.Put("short", 1, time.Second)
		m.Put("long", 2, 0)
		time.Sleep(time.Second)
		if _, ok := m.Get("short"); ok {
			t.Error("Get found a value after its lifetime")
		}
		if v, ok := m.Get("long"); !ok || v != 2 {
			t.Errorf("Get(long) = %d, %t, want 2", v, ok)
		}
	})
}

// TestMemoryBytes checks that the sizes of replaced and removed entries no longer count, and that
// an entry that is larger than Bytes is not kept.
func TestMemoryBytes(t *testing.T) {
	m := &Memory[string, string]{Bytes: 10, Weigh: func(_, v string) int { return len(v) }}
	m.Put("a", "12345678", 0)
	m.Put("a", "1234", 0)
	m.Put("b", "12345", 0)
	if m.bytes != 9 || m.Len() != 2 {
		t.Errorf("bytes = %d, Len() = %d, want 9 and 2", m.bytes, m.Len())
	}
	m.Put("c", "123456", 0)
	if _, ok := m.Get("a"); ok || m.bytes > 10 {
		t.Errorf("Get(a) found a value: %t, bytes = %d, want false and at most 10", ok, m.bytes)
	}
	m.Remove("c")
	m.Remove("c")
	m.Put("huge", strings.Repeat("x", 11), 0)
	if _, ok := m.Get("huge"); ok || m.bytes > 10 {
		t.Errorf("Get(huge) found a value: %t, bytes = %d, want false and at most 10", ok, m.bytes)
	}
}

// TestMemoryIsFair checks that an owner that adds many entries loses its own ones.
func TestMemoryIsFair(t *testing.T) {
	m := &Memory[string, int]{Size: 10, Owner: func(k string, _ int) string { return k[:1] }}
	m.Put("a1", 1, 0)
	m.Put("b1", 1, 0)
	for i := range 100 {
		m.Put("x"+string(rune('0'+i)), i, 0)
	}
	for _, key := range []string{"a1", "b1"} {
		if _, ok := m.Get(key); !ok {
			t.Errorf("Get(%s) found no value, because another owner has added entries", key)
		}
	}
	if m.Len() != 10 {
		t.Errorf("Len() = %d, want 10", m.Len())
	}
}

func TestMemoryUpdate(t *testing.T) {
	m := &Memory[string, int]{}
	add := func(known int, _ bool) (int, bool) { return known + 1, known < 2 }
	for want := 1; want <= 2; want++ {
		m.Update("n", 0, add)
		if got, _ := m.Get("n"); got != want {
			t.Errorf("Get after %d updates = %d", want, got)
		}
	}
	if m.Update("n", 0, add); m.Len() != 0 {
		t.Error("the entry is still there after change has returned false")
	}
}

func BenchmarkMemoryGet(b *testing.B) {
	m := &Memory[int, int]{Size: 1000}
	for i := range 1000 {
		m.Put(i, i, 0)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Get(i % 1000)
	}
}
