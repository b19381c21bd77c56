// SPDX-License-Identifier: Apache-2.0

package keychain_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"go.uber.org/goleak"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config returns a Docker config. The arguments are pairs of a key and a user name.
func config(keysAndUsers ...string) []byte {
	auths := map[string]map[string]string{}
	for i := 0; i+1 < len(keysAndUsers); i += 2 {
		auths[keysAndUsers[i]] = map[string]string{"username": keysAndUsers[i+1], "password": "p"}
	}
	data, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		panic(err) // impossible for strings
	}
	return data
}

// ring returns the keyring of a Docker config.
func ring(t testing.TB, data []byte) *keychain.Keyring {
	t.Helper()
	k, err := keychain.ParseDockerConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// lookup returns the credentials that Lookup returns.
func lookup(r ref.Reference, rings ...*keychain.Keyring) []authn.AuthConfig {
	auths, _ := keychain.Lookup(r, rings...)
	return auths
}

func users(auths []authn.AuthConfig) string {
	names := make([]string, len(auths))
	for i, a := range auths {
		names[i] = a.Username
	}
	return strings.Join(names, " ")
}

// TestLookup checks the kubelet's rules (k8s.io/kubernetes pkg/credentialprovider, keyring.go and
// keyring_test.go).
func TestLookup(t *testing.T) {
	for _, tt := range []struct {
		name, image string
		entries     []string
		want        string
	}{
		{"host", "ghcr.io/a/b:1", []string{"ghcr.io", "u"}, "u"},
		{"another host", "ghcr.io/a/b:1", []string{"quay.io", "u"}, ""},
		{"scheme", "ghcr.io/a/b", []string{"https://ghcr.io", "u"}, "u"},
		{"scheme and slash", "ghcr.io/a/b", []string{"http://ghcr.io/", "u"}, "u"},
		{"v1", "ghcr.io/a/b", []string{"https://ghcr.io/v1/", "u"}, "u"},
		{"v2", "ghcr.io/a/b", []string{"https://ghcr.io/v2/", "u"}, "u"},
		{"v2 and a path", "ghcr.io/a/b", []string{"https://ghcr.io/v2/a", "u"}, "u"},
		{"port", "reg.example:5000/a", []string{"reg.example:5000", "u"}, "u"},
		{"another port", "reg.example:5000/a", []string{"reg.example:5001", "u"}, ""},
		{"key without the port", "reg.example:5000/a", []string{"reg.example", "u"}, ""},
		{"key with a port, image without one", "reg.example/a", []string{"reg.example:443", "u"}, ""},
		{"path", "ghcr.io/a/b", []string{"ghcr.io/a/b", "u"}, "u"},
		{"prefix of a path, as for the kubelet", "ghcr.io/team/b", []string{"ghcr.io/te", "u"}, "u"},
		{"another path", "ghcr.io/a/b", []string{"ghcr.io/b", "u"}, ""},
		{"longer paths first", "ghcr.io/a/b", []string{"ghcr.io", "host", "ghcr.io/a", "org", "ghcr.io/a/b", "repository"}, "repository org host"},
		{"glob", "x.example.com/a", []string{"*.example.com", "u"}, "u"},
		{"glob in a label", "x1.example.com/a", []string{"x*.example.com", "u"}, "u"},
		{"glob never spans a dot", "x.y.example.com/a", []string{"*.example.com", "u"}, ""},
		{"globs in all labels", "x.y.com/a", []string{"*.*.com", "u"}, "u"},
		{"glob with a port and a path", "x.example.com:5000/team/a", []string{"*.example.com:5000/team", "u"}, "u"},
		{"glob in the last label", "x.example.com/a", []string{"x.example.*", "u"}, "u"},
		{"invalid glob", "x.example.com/a", []string{"[x.example.com", "u"}, ""},
		{"Docker Hub, as docker login writes it", "nginx", []string{"https://index.docker.io/v1/", "u"}, "u"},
		{"Docker Hub by its own name", "docker.io/library/nginx", []string{"docker.io", "u"}, "u"},
		{"Docker Hub by both names", "nginx", []string{"docker.io", "own", "index.docker.io", "login"}, "own"},
		{"Docker Hub with a path", "nginx", []string{"docker.io/library", "u"}, "u"},
		{"Docker Hub's key for another host", "ghcr.io/a/b", []string{"index.docker.io", "u"}, ""},
		{"user information before the host", "evil.example/a", []string{"ghcr.io@evil.example", "u"}, "u"},
		{"IPv6", "[::1]:5000/a", []string{"[::1]:5000", "u"}, "u"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := users(lookup(ref.MustParse(tt.image), ring(t, config(tt.entries...))))
			if got != tt.want {
				t.Errorf("Lookup(%s) in %v = %q, want %q", tt.image, tt.entries, got, tt.want)
			}
		})
	}
}

// TestLookupOverSecrets checks the order over several secrets: a longer path in a later secret
// comes first, and of one key the first secret.
func TestLookupOverSecrets(t *testing.T) {
	r := ref.MustParse("ghcr.io/a/b")
	first := ring(t, config("ghcr.io", "one", "*.io", "glob"))
	second := ring(t, config("ghcr.io", "two", "ghcr.io/a", "path"))
	if got, want := users(lookup(r, first, nil, second)), "path one two glob"; got != want {
		t.Errorf("Lookup = %q, want %q", got, want)
	}
	if got, want := users(lookup(r, second, first, second)), "path two one glob"; got != want {
		t.Errorf("Lookup with a secret twice = %q, want %q", got, want)
	}
	if got := lookup(r); got != nil {
		t.Errorf("Lookup without secrets = %v, want nil", got)
	}
}

func TestEntries(t *testing.T) {
	basic := base64.StdEncoding.EncodeToString([]byte("user:pass:word"))
	for _, tt := range []struct {
		name, entry string
		want        []authn.AuthConfig
		malformed   int
	}{
		{"user and password", `{"username":"user","password":"pass"}`, []authn.AuthConfig{{Username: "user", Password: "pass"}}, 0},
		{"auth", `{"auth":"` + basic + `"}`, []authn.AuthConfig{{Username: "user", Password: "pass:word"}}, 0},
		{"auth and other fields", `{"username":"x","password":"y","auth":"` + basic + `","email":"e"}`, []authn.AuthConfig{{Username: "user", Password: "pass:word"}}, 0},
		{"identity token", `{"identitytoken":"t","username":"<token>"}`, []authn.AuthConfig{{Username: "<token>", IdentityToken: "t"}}, 0},
		{"registry token only", `{"registrytoken":"x\ny"}`, nil, 0},
		{"registry token and a user", `{"username":"user","registrytoken":"t"}`, []authn.AuthConfig{{Username: "user"}}, 0},
		{"control characters", `{"username":"u\nv","password":"\u0000","identitytoken":"\r\n"}`, []authn.AuthConfig{{Username: "u\nv", Password: "\u0000", IdentityToken: "\r\n"}}, 0},
		{"empty", `{}`, nil, 0},
		{"invalid base64", `{"auth":"!"}`, nil, 1},
		{"auth without a colon", `{"auth":"` + base64.StdEncoding.EncodeToString([]byte("user")) + `"}`, nil, 1},
		{"not an object", `"secret"`, nil, 1},
		{"number as user name", `{"username":1}`, nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := ring(t, []byte(`{"auths":{"a.example":`+tt.entry+`,"b.example":{"username":"other"},"":{"username":"x"}}}`))
			got := lookup(ref.MustParse("a.example/x"), k)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Lookup: -want +got\n%s", diff)
			}
			if k.Malformed != tt.malformed+1 || k.Len() != 2-tt.malformed {
				t.Errorf("%d malformed and %d valid entries, want %d and %d", k.Malformed, k.Len(), tt.malformed+1, 2-tt.malformed)
			}
			if got := users(lookup(ref.MustParse("b.example/x"), k)); got != "other" {
				t.Errorf("Lookup of another entry = %q, want other", got)
			}
		})
	}
}

// TestParse checks both formats. An error about a malformed config must not quote it, because it
// may contain a password.
func TestParse(t *testing.T) {
	old, err := keychain.ParseDockercfg([]byte(`{"ghcr.io":{"username":"u","password":"p"}}`))
	if err != nil || users(lookup(ref.MustParse("ghcr.io/a"), old)) != "u" {
		t.Errorf("ParseDockercfg = %v, %v, want a keyring with u", old, err)
	}
	for _, text := range []string{"", "canary", `{"auths":["canary"]}`, `{"auths":{"canary`, `[]`} {
		if k, err := keychain.ParseDockerConfig([]byte(text)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("ParseDockerConfig(%q) = %v, %v, want an error that does not quote it", text, k, err)
		}
	}
	if k, err := keychain.ParseDockerConfig([]byte(`{"credsStore":"desktop"}`)); err != nil || k.Len() != 0 {
		t.Errorf("config without auths: ParseDockerConfig = %v, %v, want an empty keyring", k, err)
	}
	var none *keychain.Keyring
	if none.Size() != 0 || lookup(ref.MustParse("ghcr.io/a"), none) != nil {
		t.Error("a nil Keyring is not empty")
	}
}

func FuzzParseDockerConfig(f *testing.F) {
	f.Add(config("ghcr.io", "u", "*.example.com:5000/a", "v"), "ghcr.io/a/b")
	f.Add([]byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"[::1]":{}}}`), "nginx")
	f.Fuzz(func(t *testing.T, data []byte, image string) {
		k, err := keychain.ParseDockerConfig(data)
		r, refErr := ref.Parse(image)
		if err != nil || refErr != nil {
			return
		}
		auths := lookup(r, k, k)
		if len(auths) > k.Len() {
			t.Errorf("Lookup returned %d credentials of %d entries", len(auths), k.Len())
		}
		seen := map[authn.AuthConfig]bool{}
		for _, a := range auths {
			if seen[a] || a == (authn.AuthConfig{}) {
				t.Errorf("Lookup returned %s twice, or an empty credential", fmt.Sprint(a.Username))
			}
			seen[a] = true
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	k := ring(b, config("ghcr.io", "u", "*.example.com", "v", "https://index.docker.io/v1/", "w", "quay.io/team", "x"))
	r := ref.MustParse("ghcr.io/a/b:1")
	b.ReportAllocs()
	for b.Loop() {
		if len(lookup(r, k)) != 1 {
			b.Fatal("no credential")
		}
	}
}
