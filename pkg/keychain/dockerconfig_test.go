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

// TestLookupOddKeys has keys that hardly anybody writes: net/url says what their host is, as it does for the kubelet.
func TestLookupOddKeys(t *testing.T) {
	for _, tt := range []struct {
		name, image, key string
		want             bool
	}{
		{"one scheme is one too many to be a host", "ghcr.io/a", "https://http://ghcr.io", false},
		{"another scheme", "ghcr.io/a", "ftp://ghcr.io", false},
		{"query and fragment", "ghcr.io/a", "ghcr.io/a?b=c#d", true},
		{"escaped path", "ghcr.io/team/a", "ghcr.io/te%61m", true},
		{"escaped host", "ghcr.io/a", "%67hcr.io", false},
		{"empty port", "ghcr.io/a", "ghcr.io:", true},
		{"glob of a port", "reg.example:5000/a", "reg.example:*", false},
		{"glob of a path", "ghcr.io/a", "ghcr.io/*", false},
		{"an API's other path", "ghcr.io/a", "ghcr.io/v3/", false},
		{"v2 without its slash is a path", "ghcr.io/a", "ghcr.io/v2", false},
		{"only one of v2", "ghcr.io/v2/a", "ghcr.io/v2/v2/", true},
		{"two slashes", "ghcr.io/a", "ghcr.io//a", false},
		{"another case", "ghcr.io/a", "GHCR.io", false},
		{"the author's case", "GHCR.io/a", "GHCR.io", true},
		{"class of characters", "ghcr.io/a", "[a-g]hcr.io", false},
		{"one character", "ghcr.io/a", "gh?r.io", false}, // the rest is a query
		{"glob of everything with one dot", "ghcr.io/a", "*.*", true},
		{"glob of one label", "ghcr.io/a", "*", false},
		{"glob of Docker Hub", "nginx", "*.io", true},
		{"glob of what docker login writes", "nginx", "*.docker.io", false},
		{"login without its slash", "nginx", "https://index.docker.io/v1", false},
		{"a host of the image's own, without a dot", "localhost/a", "https://index.docker.io/v1/", false}, // the kubelet gives it away
		{"IPv6 without a port", "[::1]/a", "[::1]", false},                                                // to the kubelet it is a class of characters
		{"blank", "ghcr.io/a", " ghcr.io", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := lookup(ref.MustParse(tt.image), ring(t, config(tt.key, "u")))
			if (len(got) == 1) != tt.want {
				t.Errorf("Lookup(%s) of the key %q = %v, want one: %t", tt.image, tt.key, got, tt.want)
			}
		})
	}
}

// An entry without a credential still says that docker login's is not meant.
func TestLookupEmptyEntry(t *testing.T) {
	k := ring(t, []byte(`{"auths":{"docker.io":{},"https://index.docker.io/v1/":{"username":"u","password":"p"}}}`))
	if got := lookup(ref.MustParse("nginx"), k); len(got) != 0 {
		t.Errorf("Lookup = %v, want nothing", got)
	}
}

// Two spellings of one credential are one: a registry is not asked twice with it.
func TestLookupOneSpelling(t *testing.T) {
	k := ring(t, []byte(`{"auths":{"ghcr.io":{"auth":"dTpw"},"*.io":{"auth":"dTpw","username":"x"},"ghcr.io/a":{"username":"u","password":"p"}}}`))
	want := []authn.AuthConfig{{Username: "u", Password: "p"}}
	if diff := cmp.Diff(want, lookup(ref.MustParse("ghcr.io/a/b"), k)); diff != "" {
		t.Errorf("Lookup: -want +got\n%s", diff)
	}
}

// Size grows with what is held.
func TestSize(t *testing.T) {
	var none *keychain.Keyring
	small := ring(t, config("ghcr.io", "u"))
	large := ring(t, config("ghcr.io", strings.Repeat("u", 1<<13)))
	if none.Size() != 0 || small.Size() < 1 || large.Size()-small.Size() != 1<<13-1 {
		t.Errorf("Size() = %d, %d, %d", none.Size(), small.Size(), large.Size())
	}
}

// FuzzRoundTrip: what is written for a repository is found for it, whatever user name and password
// are, if they are not too long.
func FuzzRoundTrip(f *testing.F) {
	f.Add("ghcr.io/a/b:1", "user", "pass:word")
	f.Add("nginx", "", "\x00")
	f.Add("[::1]:5000/a", "ü", "")
	f.Fuzz(func(t *testing.T, image, user, password string) {
		r, err := ref.Parse(image)
		if _, urlErr := url.Parse("https://" + r.Host()); err != nil || urlErr != nil || strings.HasSuffix(r.Host(), "]") {
			return // hosts in brackets that are no address, or without a port, have no key in the kubelet's rules
		}
		if !utf8.ValidString(user) || !utf8.ValidString(password) || strings.Contains(user, ":") || user+password == "" {
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

// FuzzFormats: the two types of secret differ in their wrapping alone, and each key is an entry or malformed.
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
		if errNewer != nil || older.Len() != newer.Len() || older.Malformed() != newer.Malformed() {
			t.Fatalf("%d and %d entries, %d and %d malformed, %v", older.Len(), newer.Len(), older.Malformed(), newer.Malformed(), errNewer)
		}
		if older.Len()+older.Malformed() != len(keys) {
			t.Errorf("%d entries and %d malformed of %d keys", older.Len(), older.Malformed(), len(keys))
		}
		if r, err := ref.Parse(image); err == nil {
			if diff := cmp.Diff(lookup(r, older), lookup(r, newer)); diff != "" {
				t.Errorf("Lookup(%s): -older +newer\n%s", image, diff)
			}
		}
	})
}
