// SPDX-License-Identifier: Apache-2.0

package keychain_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// many returns a Docker config with a number of small entries.
func many(entries int, key func(i int) string) []byte {
	var b strings.Builder
	b.WriteString(`{"auths":{`)
	for i := range entries {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `%q:{"username":"u%d","password":"p"}`, key(i), i)
	}
	b.WriteString(`}}`)
	return []byte(b.String())
}

// TestTooManyEntries checks that only 1,024 entries of a config are read, and that parsing a large
// config does not allocate much.
func TestTooManyEntries(t *testing.T) {
	data := many(20000, func(i int) string { return fmt.Sprintf("h%05d.example", i) })
	k := ring(t, data)
	if k.Len() != 1024 || k.Malformed != 20000-1024 {
		t.Errorf("%d entries, %d malformed, want 1024 and the others", k.Len(), k.Malformed)
	}
	if got := lookup(ref.MustParse("h01023.example/a"), k); len(got) != 1 {
		t.Errorf("last entry that is read: Lookup = %v, want one credential", got)
	}
	if got := lookup(ref.MustParse("h01024.example/a"), k); len(got) != 0 {
		t.Errorf("first entry that is not read: Lookup = %v, want none", got)
	}
	allocated := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if _, err := keychain.ParseDockerConfig(data); err != nil {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if limit := int64(6 * len(data)); allocated > limit {
		t.Errorf("parsing %d bytes allocates %d, want at most %d", len(data), allocated, limit)
	}
}

// TestSizeIsWhatIsHeld checks that a keyring does not keep more memory than Size returns, such as
// the rest of a key.
func TestSizeIsWhatIsHeld(t *testing.T) {
	rings := make([]*keychain.Keyring, 4000)
	before := heapSize()
	total := 0
	for i := range rings {
		rings[i] = ring(t, many(1, func(int) string {
			return fmt.Sprintf("ghcr.io?%d%s", i, strings.Repeat("x", 900))
		}))
		total += rings[i].Size()
	}
	grown := int(heapSize() - before)
	if lookup(ref.MustParse("ghcr.io/a"), rings...); grown > 2*total+1<<20 {
		t.Errorf("%d bytes in use, want about %d, the sum of Size", grown, total)
	}
}

// heapSize returns the number of bytes in use on the heap.
func heapSize() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestLongKey checks that a key that is longer than any host and path is malformed.
func TestLongKey(t *testing.T) {
	k := ring(t, config(
		"ghcr.io?"+strings.Repeat("x", 2000), "u",
		"ghcr.io/"+strings.Repeat("a", 255), "v",
	))
	if k.Len() != 1 || k.Malformed != 1 {
		t.Errorf("%d entries, %d malformed, want one of each", k.Len(), k.Malformed)
	}
}

// TestLargeCredential checks that a credential of more than 16 KiB is malformed, whatever fields it
// has, and that the other entries are used.
func TestLargeCredential(t *testing.T) {
	text := func(n int) string { return strings.Repeat("p", n) }
	for name, fields := range map[string]func(size int) map[string]string{
		"password": func(size int) map[string]string {
			return map[string]string{"username": "u", "password": text(size - 1)}
		},
		"user": func(size int) map[string]string {
			return map[string]string{"username": text(size - 1), "password": "p"}
		},
		"auth": func(size int) map[string]string {
			auth := base64.StdEncoding.EncodeToString([]byte("u:" + text(size-1)))
			return map[string]string{"auth": auth}
		},
		"token": func(size int) map[string]string {
			return map[string]string{"username": "u", "identitytoken": text(size - 1)}
		},
	} {
		for size, want := range map[int]int{16 << 10: 2, 16<<10 + 1: 1} {
			data, err := json.Marshal(map[string]any{"auths": map[string]any{
				"a.b": fields(size), "*.b": map[string]string{"username": "v", "password": "p"},
			}})
			if err != nil {
				t.Fatal(err)
			}
			k := ring(t, data)
			got := lookup(ref.MustParse("a.b/c"), k)
			if len(got) != want || k.Malformed != 2-want {
				t.Errorf("%s of %d bytes: %d credentials, %d malformed, want %d and %d",
					name, size, len(got), k.Malformed, want, 2-want)
			}
		}
	}
}

// TestGlobsAreBounded checks that a lookup puts a bounded amount of work into globs, that it always
// finds entries without globs, and that no glob matches a text that can't be a label of a DNS name.
func TestGlobsAreBounded(t *testing.T) {
	ecr := func(i int) string { return fmt.Sprintf("*.dkr.ecr.eu-*-%d.amazonaws.com", i) }
	label := strings.Repeat("a", 63)
	host := strings.Join([]string{label, label, label, label[:58]}, ".")
	// Each is compared with the whole host, and does not match its last label.
	slow := func(i int) string {
		glob := "*" + label[:61]
		return fmt.Sprintf("%s.%s.%s.*%sb?%d", glob, glob, glob, label[:50], i)
	}
	for name, tt := range map[string]struct {
		host  string
		globs []byte
		match string // an entry of a later secret
		want  string
	}{
		"usual globs":            {"1.dkr.ecr.eu-west-1000.amazonaws.com", many(100, ecr), "*.*.*.*.*.com", "last"},
		"slow globs":             {host, many(1, slow), "*.*.*.*", "last"},
		"many globs":             {"a.example.com", many(1024, ecr), "*.example.com", ""},
		"many slow globs":        {host, many(4, slow), "*.*.*.*", ""},
		"many, and an exact one": {host, many(4, slow), host, "last"},
	} {
		rings := slices.Repeat([]*keychain.Keyring{ring(t, tt.globs)}, 3)
		rings = append(rings, ring(t, config(tt.match, "last")))
		if got := users(lookup(ref.MustParse(tt.host+"/a"), rings...)); got != tt.want {
			t.Errorf("%s: Lookup = %q, want %q", name, got, tt.want)
		}
	}
	k := ring(t, config("*.example.org", "u"))
	if got := users(lookup(ref.MustParse(label+".example.org/a"), k)); got != "u" {
		t.Errorf("label of 63 characters: Lookup = %q, want u", got)
	}
	if got := users(lookup(ref.MustParse(label+"a.example.org/a"), k)); got != "" {
		t.Errorf("label of 64 characters: Lookup = %q, want none", got)
	}
}

// TestManyLargeCredentials checks that the credentials of a lookup have at most 64 KiB together.
// The others count as left out.
func TestManyLargeCredentials(t *testing.T) {
	auths := map[string]any{}
	for i := range 8 {
		user := fmt.Sprint("u", i)
		auths["a.b/"+strings.Repeat("c", 8-i)] = map[string]string{
			"username": user, "password": strings.Repeat("p", 16<<10-len(user)),
		}
	}
	data, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		t.Fatal(err)
	}
	got, left := keychain.Lookup(ref.MustParse("a.b/cccccccc"), ring(t, data))
	if users(got) != "u0 u1 u2 u3" || left != 4 {
		t.Errorf("Lookup = %q and %d left out, want the first 4 of 8", users(got), left)
	}
}

// TestOddObjects checks that both formats treat unusual JSON alike. A result is the number of
// entries and the number of malformed entries.
func TestOddObjects(t *testing.T) {
	for text, want := range map[string]string{
		`null`:                            "0 0",
		`{}`:                              "0 0",
		`[]`:                              "error",
		`"ghcr.io"`:                       "error",
		`{"a.b":null}`:                    "1 0",
		`{"a.b":{},"a.b":{"auth":"x"}}`:   "0 1",
		`{"a.b":{"auth":"x"},"a.b":{}}`:   "1 0",
		`{"a.b":{}`:                       "error",
		`{"a.b":{}} {}`:                   "error",
		`{"a.b":{"username":1},"c.d":{}}`: "1 1",
	} {
		for name, parse := range map[string]func() (*keychain.Keyring, error){
			"older": func() (*keychain.Keyring, error) { return keychain.ParseDockercfg([]byte(text)) },
			"newer": func() (*keychain.Keyring, error) {
				return keychain.ParseDockerConfig([]byte(`{"auths":` + text + `}`))
			},
		} {
			k, err := parse()
			got := "error"
			if err == nil {
				got = fmt.Sprint(k.Len(), k.Malformed)
			}
			if got != want {
				t.Errorf("%s format: parsing %s = %s, want %s", name, text, got, want)
			}
		}
	}
}
