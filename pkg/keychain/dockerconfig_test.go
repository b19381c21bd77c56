// SPDX-License-Identifier: Apache-2.0

package keychain_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// TestLookupOddKeys checks unusual keys. Like the kubelet, Lookup leaves it to net/url what the
// host of a key is.
func TestLookupOddKeys(t *testing.T) {
	for _, tt := range []struct {
		name, image, key string
		want             bool
	}{
		{"two schemes", "ghcr.io/a", "https://http://ghcr.io", false},
		{"another scheme", "ghcr.io/a", "ftp://ghcr.io", false},
		{"query and fragment", "ghcr.io/a", "ghcr.io/a?b=c#d", true},
		{"escaped path", "ghcr.io/team/a", "ghcr.io/te%61m", true},
		{"escaped host", "ghcr.io/a", "%67hcr.io", false},
		{"empty port", "ghcr.io/a", "ghcr.io:", true},
		{"glob for a port", "reg.example:5000/a", "reg.example:*", false},
		{"glob for a path", "ghcr.io/a", "ghcr.io/*", false},
		{"other path of an API", "ghcr.io/a", "ghcr.io/v3/", false},
		{"v2 without a slash at the end is a path", "ghcr.io/a", "ghcr.io/v2", false},
		{"v2 twice", "ghcr.io/v2/a", "ghcr.io/v2/v2/", true},
		{"two slashes", "ghcr.io/a", "ghcr.io//a", false},
		{"upper case", "ghcr.io/a", "GHCR.io", false},
		{"upper case in key and image", "GHCR.io/a", "GHCR.io", true},
		{"character class", "ghcr.io/a", "[a-g]hcr.io", false},
		{"question mark", "ghcr.io/a", "gh?r.io", false}, // what follows is a query
		{"globs for two labels", "ghcr.io/a", "*.*", true},
		{"glob for one label", "ghcr.io/a", "*", false},
		{"glob for Docker Hub", "nginx", "*.io", true},
		{"glob for the key that docker login writes", "nginx", "*.docker.io", false},
		{"Docker Hub without the last slash", "nginx", "https://index.docker.io/v1", false},
		{"image with a host without a dot", "localhost/a", "https://index.docker.io/v1/", false}, // unlike the kubelet, which uses the credential
		{"IPv6 without a port", "[::1]/a", "[::1]", false},                                       // for the kubelet, this is a character class
		{"leading blank", "ghcr.io/a", " ghcr.io", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := lookup(ref.MustParse(tt.image), ring(t, config(tt.key, "u")))
			if (len(got) == 1) != tt.want {
				t.Errorf("Lookup(%s) with the key %q = %v, want a credential: %t", tt.image, tt.key, got, tt.want)
			}
		})
	}
}

// TestLookupEmptyEntry checks that an entry for docker.io hides the one of docker login, even if it
// has no credential.
func TestLookupEmptyEntry(t *testing.T) {
	k := ring(t, []byte(`{"auths":{"docker.io":{},"https://index.docker.io/v1/":{"username":"u","password":"p"}}}`))
	if got := lookup(ref.MustParse("nginx"), k); len(got) != 0 {
		t.Errorf("Lookup = %v, want nothing", got)
	}
}

// TestLookupOneSpelling checks that two spellings of a credential count as one, so that a registry
// does not get it twice.
func TestLookupOneSpelling(t *testing.T) {
	k := ring(t, []byte(`{"auths":{"ghcr.io":{"auth":"dTpw"},"*.io":{"auth":"dTpw","username":"x"},"ghcr.io/a":{"username":"u","password":"p"}}}`))
	want := []authn.AuthConfig{{Username: "u", Password: "p"}}
	if diff := cmp.Diff(want, lookup(ref.MustParse("ghcr.io/a/b"), k)); diff != "" {
		t.Errorf("Lookup: -want +got\n%s", diff)
	}
}

// TestSize checks that Size grows with the credentials.
func TestSize(t *testing.T) {
	var none *keychain.Keyring
	small := ring(t, config("ghcr.io", "u"))
	large := ring(t, config("ghcr.io", strings.Repeat("u", 1<<13)))
	if none.Size() != 0 || small.Size() < 1 || large.Size()-small.Size() != 1<<13-1 {
		t.Errorf("Size = %d, %d, %d, want 0, a small one, and 8191 more",
			none.Size(), small.Size(), large.Size())
	}
}

// FuzzRoundTrip checks that a credential for a repository is found for it, whatever the user name
// and the password are, unless they are too long.
func FuzzRoundTrip(f *testing.F) {
	f.Add("ghcr.io/a/b:1", "user", "pass:word")
	f.Add("nginx", "", "\x00")
	f.Add("[::1]:5000/a", "ü", "")
	f.Fuzz(func(t *testing.T, image, user, password string) {
		r, err := ref.Parse(image)
		_, urlErr := url.Parse("https://" + r.Host())
		if err != nil || urlErr != nil || strings.HasSuffix(r.Host(), "]") {
			return // the kubelet's rules have no key for most hosts in brackets
		}
		if !utf8.ValidString(user) || !utf8.ValidString(password) ||
			strings.Contains(user, ":") || user+password == "" {
			return
		}
		want := authn.AuthConfig{Username: user, Password: password}
		if keychain.Size(want) > keychain.MaxCredential {
			return
		}
		data, err := json.Marshal(map[string]any{"auths": map[string]authn.AuthConfig{r.Repository(): want}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]authn.AuthConfig{want}, lookup(r, ring(t, data))); diff != "" {
			t.Errorf("Lookup(%q) of its own key: -want +got\n%s", r.Repository(), diff)
		}
	})
}

// FuzzFormats checks that the two formats give equal keyrings, and that each key is an entry or
// malformed.
func FuzzFormats(f *testing.F) {
	f.Add([]byte(`{"ghcr.io":{"auth":"dTpw"},"*.example.com":1,"":{}}`), "ghcr.io/a")
	f.Add([]byte(`{"https://index.docker.io/v1/":{"username":"u","password":"p"}}`), "nginx")
	f.Fuzz(func(t *testing.T, data []byte, image string) {
		older, errOlder := keychain.ParseDockercfg(data)
		newer, errNewer := keychain.ParseDockerConfig(fmt.Appendf(nil, `{"auths":%s}`, data))
		var keys map[string]json.RawMessage
		if errOlder != nil || json.Unmarshal(data, &keys) != nil {
			return
		}
		if errNewer != nil || older.Len() != newer.Len() || older.Malformed != newer.Malformed {
			t.Fatalf("formats differ: %d and %d entries, %d and %d malformed, error %v",
				older.Len(), newer.Len(), older.Malformed, newer.Malformed, errNewer)
		}
		if older.Len()+older.Malformed != len(keys) {
			t.Errorf("%d entries and %d malformed, want a sum of %d, the number of keys",
				older.Len(), older.Malformed, len(keys))
		}
		if r, err := ref.Parse(image); err == nil {
			if diff := cmp.Diff(lookup(r, older), lookup(r, newer)); diff != "" {
				t.Errorf("Lookup(%s): -older +newer\n%s", image, diff)
			}
		}
	})
}
