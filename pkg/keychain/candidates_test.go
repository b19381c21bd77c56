// SPDX-License-Identifier: Apache-2.0

package keychain_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// crowd returns a number of secrets that each have a number of entries for ghcr.io. All keys are
// equal, because the part after the question mark does not count.
func crowd(t testing.TB, secrets, entries int) []*keychain.Keyring {
	t.Helper()
	rings := make([]*keychain.Keyring, secrets)
	for s := range rings {
		var kv []string
		for e := range entries {
			kv = append(kv, fmt.Sprintf("ghcr.io?%04d", e), fmt.Sprintf("u%d-%d", s, e))
		}
		rings[s] = ring(t, config(kv...))
	}
	return rings
}

// TestCandidatesAreBounded checks that Lookup returns the first 16 credentials in the kubelet's
// order, and counts the entries that come after them.
func TestCandidatesAreBounded(t *testing.T) {
	first := make([]string, keychain.MaxCandidates)
	for i := range first {
		first[i] = fmt.Sprint("u0-", i)
	}
	paths := func() (kv, want []string) {
		path := "ghcr.io/"
		for i := range 30 {
			path += "a"
			kv = append(kv, path, fmt.Sprint("u", i))
			want = append([]string{fmt.Sprint("u", i)}, want...)
		}
		return kv, want[:keychain.MaxCandidates]
	}
	kv, longest := paths()
	for _, tt := range []struct {
		name  string
		image string
		rings []*keychain.Keyring
		want  []string
		left  int
	}{
		{"64 secrets of 1,024 entries", "ghcr.io/a", crowd(t, 64, 1024), first, 4096 - 16},
		{"exactly 16", "ghcr.io/a", crowd(t, 1, 16), first, 0},
		{"the longest paths", "ghcr.io/" + strings.Repeat("a", 30), []*keychain.Keyring{ring(t, config(kv...))}, longest, 14},
		{
			"the longest path in the last secret", "ghcr.io/a/b",
			append(crowd(t, 3, 20), ring(t, config("ghcr.io/a", "path", "ghcr.io/a/b", "repository"))),
			append([]string{"repository", "path"}, first[:14]...), 3*20 - 14,
		},
		{"one credential many times", "ghcr.io/a", slices.Repeat(crowd(t, 1, 16), 40), first, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, left := keychain.Lookup(ref.MustParse(tt.image), tt.rings...)
			if diff := cmp.Diff(strings.Join(tt.want, " "), users(got)); diff != "" {
				t.Errorf("Lookup: -want +got\n%s", diff)
			}
			if left != tt.left {
				t.Errorf("Lookup left out %d entries, want %d", left, tt.left)
			}
		})
	}
}

// slowLookup implements the rules of Lookup in a simple way: it sorts all entries that match, and
// returns each credential once.
func slowLookup(entries []string, image string) []string {
	type entry struct{ key, user string }
	var matched []entry
	for i := 0; i < len(entries); i += 2 {
		if key := entries[i]; strings.HasPrefix(image, key) {
			matched = append(matched, entry{key, entries[i+1]})
		}
	}
	slices.SortStableFunc(matched, func(a, b entry) int { return strings.Compare(b.key, a.key) })
	var users []string
	for _, e := range matched {
		if len(users) < keychain.MaxCandidates && !slices.Contains(users, e.user) {
			users = append(users, e.user)
		}
	}
	return users
}

// FuzzCandidates compares Lookup with slowLookup. Each pair of bytes is the length of an entry's
// path and its user.
func FuzzCandidates(f *testing.F) {
	f.Add([]byte("0123456789abcdefghijklmnopqrstuvwxyz"))
	f.Add([]byte{
		1, 200, 3, 4, 1, 200, 90, 4, 2, 2, 2, 9, 8, 7, 6, 5, 4, 3, 2, 1,
		80, 81, 82, 83, 84, 85, 86, 87, 88, 89,
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		image := "ghcr.io/" + strings.Repeat("a", 100)
		var rings []*keychain.Keyring
		var entries []string
		for i := 0; i+1 < len(data); i += 2 { // one entry per secret, so that their order is known
			kv := []string{image[:len("ghcr.io/a")+int(data[i])%100], fmt.Sprint("u", data[i+1]%40)}
			rings, entries = append(rings, ring(t, config(kv...))), append(entries, kv...)
		}
		auths, left := keychain.Lookup(ref.MustParse(image), rings...)
		if got, want := users(auths), strings.Join(slowLookup(entries, image), " "); got != want {
			t.Errorf("Lookup of %q = %q, want %q", entries, got, want)
		}
		if left > max(0, len(rings)-len(auths)) || left > 0 && len(auths) < keychain.MaxCandidates {
			t.Errorf("Lookup left out %d of %d entries beside %d candidates", left, len(rings), len(auths))
		}
	})
}

// others returns 50 secrets of 1,024 entries each. Each key is made from a format and a number.
func others(t testing.TB, keyFormat string) []*keychain.Keyring {
	t.Helper()
	rings := make([]*keychain.Keyring, 50)
	for s := range rings {
		rings[s] = ring(t, many(1024, func(i int) string { return fmt.Sprintf(keyFormat, s*1024+i) }))
	}
	return rings
}

// FuzzHosts compares Lookup in a keyring with many hosts with lookups in keyrings of one entry.
func FuzzHosts(f *testing.F) {
	f.Add([]byte("0123456789abcdefghijklmnopqrstuvwxyz"))
	f.Add([]byte{0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 0, 7, 1, 8, 2, 9, 3, 10, 4, 11, 5})
	hosts := []string{
		"a.b", "*.b", "a.*", "a.b:5000", "*.b:5000", "c.b", "localhost:5000", "docker.io", "*.io",
		"index.docker.io", "[a-c].b", "a.b.c",
	}
	paths := []string{"", "/", "/t", "/team", "/team/a", "/v2/team"}
	images := []string{
		"a.b/team/a", "a.b:5000/t", "c.b/team", "localhost:5000/a", "nginx", "a.b.c/x",
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var kv []string
		for i := 0; i+1 < min(len(data), 2*keychain.MaxCandidates); i += 2 {
			key := hosts[int(data[i])%len(hosts)] + paths[int(data[i+1])%len(paths)]
			kv = append(kv, key, key)
		}
		all := ring(t, config(kv...))
		for range 2 { // the second time, the matching globs are remembered
			for _, image := range images {
				r, alone := ref.MustParse(image), map[string]bool{}
				for i := 0; i < len(kv); i += 2 {
					for _, a := range lookup(r, ring(t, config(kv[i:i+2]...))) {
						alone[a.Username] = true
					}
				}
				together := lookup(r, all)
				for _, a := range together {
					if !alone[a.Username] {
						t.Errorf("Lookup(%s) in %q = %s, which no entry alone returns", image, kv, a.Username)
					}
				}
				hub := strings.Contains(users(together), "docker.io") || image != "nginx"
				if len(together) != len(alone) && hub {
					t.Errorf("Lookup(%s) in %q = %q, want %v", image, kv, users(together), alone)
				}
			}
		}
	})
}

// BenchmarkLookupMany looks up images of one host in secrets that make a lookup slow.
func BenchmarkLookupMany(b *testing.B) {
	host, long := strings.Repeat("a", 63)+".example.com", strings.Repeat("a", 200)
	prefixes := slices.Repeat([]*keychain.Keyring{ring(b, many(1024, func(i int) string {
		return fmt.Sprintf("%s/a%s?%d", host, long[:i%200], i)
	}))}, 50)
	for name, rings := range map[string][]*keychain.Keyring{
		"other hosts": others(b, "h%d.example.com"),
		"other paths": others(b, host+"/b%d"),
		"one key":     others(b, host+"?%d"),
		"prefixes":    prefixes,
		"globs":       others(b, "*"+long[:30]+"%d.example.com"),
		"long globs":  others(b, "*"+strings.Repeat("*a", 200)+"%d.example.com"),
	} {
		b.Run(name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n++
				keychain.Lookup(ref.MustParse(fmt.Sprintf("%s/%s%d", host, long, n)), rings...)
			}
		})
	}
}

// BenchmarkSlowGlobs looks up images in a secret with globs that take long to compare. Each image
// is at another host.
func BenchmarkSlowGlobs(b *testing.B) {
	label := strings.Repeat("a", 58)
	glob := strings.Repeat("*"+label[:55]+".", 3) + "*" + label[:50] + "b?"
	k := ring(b, many(1024, func(i int) string { return fmt.Sprint(glob, i) }))
	for n := 0; b.Loop(); n++ {
		host := fmt.Sprintf("%s.%s.%s.%s%d", label, label, label, label[:48], n)
		if auths, _ := keychain.Lookup(ref.MustParse(host+"/a"), k); len(auths) != 0 {
			b.Fatal("a glob matches")
		}
	}
}

func BenchmarkLookupCrowd(b *testing.B) {
	rings := crowd(b, 64, 1024)
	r := ref.MustParse("ghcr.io/a/b:1")
	b.ReportAllocs()
	for b.Loop() {
		if auths, _ := keychain.Lookup(r, rings...); len(auths) != keychain.MaxCandidates {
			b.Fatal("Lookup returned fewer than MaxCandidates credentials")
		}
	}
}
