// SPDX-License-Identifier: Apache-2.0

package local_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"go.uber.org/goleak"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/keychain/local"
	"github.com/tagpin/tagpin/pkg/ref"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reports collects what a keychain reports.
type reports struct {
	mu    sync.Mutex
	texts []string
}

func (r *reports) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts = append(r.texts, err.Error())
}

// open returns a keychain with files of the given contents.
func open(t *testing.T, contents ...string) (*local.Keychain, *reports) {
	t.Helper()
	r, k := &reports{}, &local.Keychain{}
	k.Report = r.add
	for i, text := range contents {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.json", i))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		k.Sources = append(k.Sources, local.Source{Path: path})
	}
	t.Cleanup(k.Close)
	return k, r
}

// helper puts a credential helper with the name "test" into the path. Each run of it adds a line to
// the file that helper returns.
func helper(t *testing.T, script string) (runs string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	runs = filepath.Join(dir, "runs")
	text := "#!/bin/sh\nread -r host\necho \"$1 $host\" >> " + runs + "\n" + script
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-test"), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return runs
}

// lines returns the sorted lines of a file.
func lines(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return slices.Sorted(strings.Lines(string(data)))
}

// user returns the user name of the login for an image, or "".
func user(t *testing.T, k *local.Keychain, image string) string {
	t.Helper()
	got := k.Credentials(t.Context(), ref.MustParse(image), false)
	switch {
	case len(got) == 0:
		return ""
	case len(got) > 1 || got[0].Shared:
		t.Errorf("Credentials(%s) = %v, want one of the user's own", image, got)
	}
	return got[0].Auth.Username
}

// auths returns a file with a login for each key, whose user has the name of the key.
func auths(keys ...string) string {
	var entries []string
	for _, key := range keys {
		auth := base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(key, ":", "_") + ":p"))
		entries = append(entries, fmt.Sprintf("%q: {%q: %q}", key, "auth", auth))
	}
	return `{"auths": {` + strings.Join(entries, ", ") + `}}`
}

// TestPaths checks the rules of containers-auth.json(5) for the keys of one file.
func TestPaths(t *testing.T) {
	for _, tt := range []struct {
		name, image string
		keys        []string
		want        string
	}{
		{"host", "quay.io/org/app", []string{"quay.io"}, "quay.io"},
		{"path", "quay.io/org/app", []string{"quay.io", "quay.io/org"}, "quay.io/org"},
		{"repository", "quay.io/org/app:1", []string{"quay.io/org", "quay.io/org/app"}, "quay.io/org/app"},
		{"longer path than the image's", "quay.io/org", []string{"quay.io/org/app"}, ""},
		{"another path that begins alike", "quay.io/org/app", []string{"quay.io/orga"}, ""},
		{"another path that is the beginning", "quay.io/orga/app", []string{"quay.io/org"}, ""},
		{"another organization only", "quay.io/org/app", []string{"quay.io/other"}, ""},
		{"another port", "quay.io:5000/app", []string{"quay.io"}, ""},
		{"another host that ends alike", "quay.io/app", []string{"notquay.io"}, ""},
		{"URL of the first version", "quay.io/app", []string{"https://quay.io/v1/"}, "https_//quay.io/v1/"},
		{"URL", "quay.io/app", []string{"http://quay.io"}, "http_//quay.io"},
		{"host before URL", "quay.io/app", []string{"https://quay.io", "quay.io"}, "quay.io"},
		{"localhost", "localhost:5000/app", []string{"localhost:5000"}, "localhost_5000"},
		{"no glob", "a.quay.io/app", []string{"*.quay.io"}, ""},
		{"Docker Hub by docker login", "nginx", []string{"https://index.docker.io/v1/"}, "https_//index.docker.io/v1/"},
		{"Docker Hub by podman login", "nginx", []string{"docker.io"}, "docker.io"},
		{"Docker Hub by its index", "nginx", []string{"index.docker.io"}, "index.docker.io"},
		{"Docker Hub's API", "registry-1.docker.io/library/nginx", []string{"docker.io"}, "docker.io"},
		{
			"Docker Hub's other tokens", "nginx",
			[]string{"https://index.docker.io/v1/access-token", "https://index.docker.io/v1/"},
			"https_//index.docker.io/v1/",
		},
		{"an organization at Docker Hub", "org/app", []string{"docker.io/org", "docker.io"}, "docker.io/org"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, r := open(t, auths(tt.keys...))
			if got := user(t, k, tt.image); got != tt.want || len(r.texts) > 0 {
				t.Errorf("with %q: login for %s = %q, reports %q, want %q", tt.keys, tt.image, got, r.texts, tt.want)
			}
		})
	}
}

// TestEntries checks the fields of an entry, and that a malformed one is reported if it is needed,
// without its content.
func TestEntries(t *testing.T) {
	basic := base64.StdEncoding.EncodeToString([]byte("user:pass:word\x00\x00"))
	for entry, want := range map[string]authn.AuthConfig{
		`{"auth":"` + basic + `"}`:                {Username: "user", Password: "pass:word"},
		`{"username":"user","password":"pass"}`:   {Username: "user", Password: "pass"},
		`{"auth":"dTo=","identitytoken":"token"}`: {Username: "u", IdentityToken: "token"},
		`{"registrytoken":"token"}`:               {RegistryToken: "token"},
		`{}`:                                      {},
		`{"auth":"canary!"}`:                      {},
		`{"auth":"Y2FuYXJ5"}`:                     {},
		`["canary"]`:                              {},
		`{"password":"` + strings.Repeat("x", 20000) + `"}`: {},
	} {
		k, r := open(t, `{"auths":{"a.example":`+entry+`,"b.example":{"auth":"dTpw"}}}`)
		if got := user(t, k, "b.example/x"); got != "u" || len(r.texts) > 0 {
			t.Errorf("beside %s: login = %q, reports %q, want u", entry, got, r.texts)
		}
		var got authn.AuthConfig
		if creds := k.Credentials(t.Context(), ref.MustParse("a.example/x"), false); len(creds) > 0 {
			got = creds[0].Auth
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", entry, diff)
		}
		malformed := want == authn.AuthConfig{} && entry != `{}`
		if malformed != (len(r.texts) == 1) || malformed && (strings.Contains(r.texts[0], "canary") ||
			!strings.Contains(r.texts[0], "login for a.example is malformed")) {
			t.Errorf("%s: reports %q, want one without the content if it is malformed", entry, r.texts)
		}
	}
}

// TestFiles checks that the first file with a login decides, and that a file that can't be read is
// reported while the others are used.
func TestFiles(t *testing.T) {
	k, r := open(t, `{"auths":{"a.example":{}}}`, `canary {`, auths("a.example", "b.example/x"), auths("b.example"))
	k.Sources = slices.Insert(k.Sources, 0,
		local.Source{Path: filepath.Join(t.TempDir(), "none")},
		local.Source{Path: "/none/set.json", Variable: "REGISTRY_AUTH_FILE"},
		local.Source{Path: t.TempDir()})
	for range 2 {
		for image, want := range map[string]string{
			"a.example/x": "a.example", "b.example/x/y": "b.example/x", "b.example/y": "b.example", "c.example/x": "",
		} {
			if got := user(t, k, image); got != want {
				t.Errorf("login for %s = %q, want %q", image, got, want)
			}
		}
	}
	if len(r.texts) != 3 || !strings.HasPrefix(r.texts[0], "REGISTRY_AUTH_FILE names a file that can't be read: open /none/set.json: ") ||
		!strings.Contains(r.texts[1], "is a directory") || !strings.Contains(r.texts[2], "1.json: no logins are read") ||
		strings.Contains(r.texts[2], "canary") {
		t.Errorf("reports = %q, want one of each file that can't be read", r.texts)
	}
	inline := &local.Keychain{Sources: []local.Source{
		{Path: "DOCKER_AUTH_CONFIG", Text: auths("a.example")},
		{Path: k.Sources[0].Path, Legacy: true},
	}}
	if got := user(t, inline, "a.example/x"); got != "a.example" {
		t.Errorf("login in a variable = %q, want a.example", got)
	}
}

func TestLegacy(t *testing.T) {
	k, _ := open(t, `{"https://quay.io/v1/":{"auth":"dTpw"}}`)
	k.Sources[0].Legacy = true
	if got := user(t, k, "quay.io/app"); got != "u" {
		t.Errorf("login in .dockercfg = %q, want u", got)
	}
}

// TestHelpers checks when a helper is asked and for what, and that it is asked once a host.
func TestHelpers(t *testing.T) {
	const script = `case "$host" in
none.example) echo 'credentials not found in native keychain'; exit 1 ;;
token.example) echo '{"Username":"<token>","Secret":"t"}' ;;
*) echo '{"ServerURL":"x","Username":"helper","Secret":"p"}' ;;
esac
`
	for _, tt := range []struct {
		name, file, image, want string
		asked                   []string
	}{
		{"credHelpers", `{"credHelpers":{"a.example":"test"}}`, "a.example/x", "helper", []string{"get a.example\n"}},
		{"credHelpers of another host", `{"credHelpers":{"a.example":"test"}}`, "b.example/x", "", nil},
		{
			"credHelpers before an entry, whatever its path",
			`{"credHelpers":{"a.example":"test"},"auths":{"a.example/x":{"auth":"dTpw"}}}`,
			"a.example/x", "helper",
			[]string{"get a.example\n"},
		},
		{
			"no entry instead of a helper that has none",
			`{"credHelpers":{"none.example":"test"},"auths":{"none.example":{"auth":"dTpw"}}}`,
			"none.example/x", "",
			[]string{"get none.example\n"},
		},
		{"credsStore", `{"credsStore":"test","auths":{"a.example":{}}}`, "a.example/x", "helper", []string{"get a.example\n"}},
		{
			"a path before credsStore", `{"credsStore":"test","auths":{"a.example/x":{"auth":"dTpw"}}}`,
			"a.example/x/y", "u", nil,
		},
		{
			"an empty path in a file with credsStore", `{"credsStore":"test","auths":{"a.example/x":{}}}`,
			"a.example/x", "helper",
			[]string{"get a.example\n"},
		},
		{
			"an entry after credsStore that has none",
			`{"credsStore":"test","auths":{"none.example":{"auth":"dTpw"}}}`,
			"none.example/x", "u",
			[]string{"get none.example\n"},
		},
		{"credsStore for Docker Hub", `{"credsStore":"test"}`, "nginx", "helper", []string{"get https://index.docker.io/v1/\n"}},
		{
			"docker's credHelpers for Docker Hub", `{"credHelpers":{"https://index.docker.io/v1/":"test"}}`,
			"nginx", "helper",
			[]string{"get https://index.docker.io/v1/\n"},
		},
		{
			"an empty name in credHelpers, and the login in the file",
			`{"credsStore":"test","credHelpers":{"a.example":""},"auths":{"a.example":{"auth":"dTpw"}}}`,
			"a.example/x", "u", nil,
		},
		{
			"an empty name in credHelpers, and an empty entry",
			`{"credsStore":"test","credHelpers":{"a.example":""},"auths":{"a.example/x":{},"a.example":{"auth":"dTpw"}}}`,
			"a.example/x", "", nil,
		},
		{
			"an empty name in credHelpers for another host",
			`{"credsStore":"test","credHelpers":{"b.example":""},"auths":{"a.example":{"auth":"dTpw"}}}`,
			"a.example/x", "helper",
			[]string{"get a.example\n"},
		},
		{
			"an empty name in credHelpers for Docker Hub",
			`{"credsStore":"test","credHelpers":{"https://index.docker.io/v1/":""},"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"}}}`,
			"nginx", "u", nil,
		},
		{"podman's credHelpers for Docker Hub", `{"credHelpers":{"docker.io":"test"}}`, "nginx", "helper", []string{"get docker.io\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runs := helper(t, script)
			k, r := open(t, tt.file)
			for _, image := range []string{tt.image, tt.image + ":1", tt.image} {
				if got := user(t, k, image); got != tt.want {
					t.Errorf("login for %s = %q, want %q", image, got, tt.want)
				}
			}
			k.Credentials(t.Context(), ref.MustParse(tt.image), true)
			if got := lines(t, runs); !slices.Equal(got, tt.asked) || len(r.texts) > 0 {
				t.Errorf("runs of the helper: %q, reports %q, want %q", got, r.texts, tt.asked)
			}
		})
	}
	helper(t, script)
	k, _ := open(t, `{"credsStore":"test"}`)
	want := []keychain.Credential{{Auth: authn.AuthConfig{IdentityToken: "t"}}}
	if diff := cmp.Diff(want, k.Credentials(t.Context(), ref.MustParse("token.example/a"), false)); diff != "" {
		t.Errorf("identity token: -want +got\n%s", diff)
	}
}

// TestHelperIsShared checks that lookups at the same time share the answer of a helper.
func TestHelperIsShared(t *testing.T) {
	runs := helper(t, `sleep 0.1; echo '{"Username":"u","Secret":"p"}'`)
	k, _ := open(t, `{"credsStore":"test"}`)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			image := fmt.Sprintf("%c.example/app%d", "ab"[i%2], i)
			if got := user(t, k, image); got != "u" {
				t.Errorf("login for %s = %q, want u", image, got)
			}
		})
	}
	wg.Wait()
	if got, want := lines(t, runs), []string{"get a.example\n", "get b.example\n"}; !slices.Equal(got, want) {
		t.Errorf("runs of the helper: %q, want %q", got, want)
	}
}

// TestBrokenHelpers checks what is reported about a helper that gives no login: once, however many
// hosts it is asked for, without a secret. Other files are used all the same.
func TestBrokenHelpers(t *testing.T) {
	for _, tt := range []struct{ name, program, script, want string }{
		{"not installed", "none-such", "", "it is not installed, or not in PATH"},
		{"message", "test", "echo 'the keyring is locked'; echo more; exit 1", "the keyring is locked (exit status 1)"},
		{"message on stderr", "test", "echo 'gcloud: not found' >&2; exit 3", "gcloud: not found (exit status 3)"},
		{"no message", "test", "exit 1", "it failed (exit status 1)"},
		{"login and failure", "test", `echo '{"Secret":"canary"}'; exit 1`, "it failed (exit status 1)"},
		{"no JSON", "test", "echo canary", "its answer is not JSON"},
		{"long message", "test", "head -c 1000000 /dev/zero | tr '\\0' x; exit 1", strings.Repeat("x", 200) + " (exit status 1)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			helper(t, tt.script)
			k, r := open(t, `{"credsStore":"`+tt.program+`"}`, auths("a.example"))
			for image, want := range map[string]string{"a.example/x": "a.example", "b.example/x": ""} {
				if got := user(t, k, image); got != want {
					t.Errorf("login for %s = %q, want %q", image, got, want)
				}
			}
			want := fmt.Sprintf("from docker-credential-%s, which %s names: %s; repair it", tt.program, k.Sources[0].Path, tt.want)
			if len(r.texts) != 1 || !strings.Contains(r.texts[0], want) || strings.Contains(r.texts[0], "canary") {
				t.Errorf("reports = %q, want one with %q", r.texts, want)
			}
		})
	}
}

// TestHelperThatHangs checks that a helper that hangs is stopped, even if a child of it holds its
// output open, and that it is not asked again.
func TestHelperThatHangs(t *testing.T) {
	runs := helper(t, `sleep 5; echo '{"Username":"u","Secret":"p"}'`)
	k, r := open(t, `{"credsStore":"test"}`)
	k.HelperTimeout = 100 * time.Millisecond
	for range 3 {
		if got := user(t, k, "a.example/x"); got != "" {
			t.Errorf("login = %q, want none", got)
		}
	}
	if n := len(lines(t, runs)); n != 1 || len(r.texts) != 1 ||
		!strings.Contains(r.texts[0], "it gave no answer for 100ms and was stopped") {
		t.Errorf("%d runs, reports %q, want one of each", n, r.texts)
	}
}

// TestHelperWithDaemon checks that the answer of a helper counts that leaves a child behind, such
// as an agent, with its output open.
func TestHelperWithDaemon(t *testing.T) {
	helper(t, `sleep 3 & echo '{"Username":"u","Secret":"p"}'`)
	k, r := open(t, `{"credsStore":"test"}`)
	if got := user(t, k, "a.example/x"); got != "u" || len(r.texts) > 0 {
		t.Errorf("login = %q, reports %q, want u", got, r.texts)
	}
}

// TestEndOfCaller checks that a lookup does not wait for a helper after its time, and that an
// interrupted one reports nothing.
func TestEndOfCaller(t *testing.T) {
	helper(t, `sleep 5`)
	k, r := open(t, `{"credsStore":"test"}`)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	k.Credentials(ctx, ref.MustParse("a.example/x"), false)
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	k.Credentials(interrupted, ref.MustParse("b.example/x"), false)
	if len(r.texts) != 1 || !strings.Contains(r.texts[0], "no login for a.example") ||
		!strings.Contains(r.texts[0], "no answer in the time that was left") {
		t.Errorf("reports = %q, want one about the first lookup", r.texts)
	}
	k.Close()
	if got := user(t, k, "c.example/x"); got != "" {
		t.Errorf("after Close: login = %q, want none", got)
	}
}

func TestSources(t *testing.T) {
	for _, tt := range []struct {
		name, os string
		env      map[string]string
		home     string
		want     []string
	}{
		{"Linux", "linux", map[string]string{"XDG_RUNTIME_DIR": "/run/user/7"}, "/h", []string{
			"/run/user/7/containers/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json", "/h/.dockercfg",
		}},
		{"Linux without a session", "linux", nil, "/h", []string{
			"/run/containers/7/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json", "/h/.dockercfg",
		}},
		{"macOS", "darwin", map[string]string{"XDG_RUNTIME_DIR": "/run"}, "/h", []string{
			"/h/.config/containers/auth.json", "/h/.docker/config.json", "/h/.dockercfg",
		}},
		{"folders", "linux", map[string]string{"XDG_RUNTIME_DIR": "/r", "XDG_CONFIG_HOME": "/c", "DOCKER_CONFIG": "/d"}, "/h", []string{
			"/r/containers/auth.json", "/c/containers/auth.json", "/d/config.json", "/h/.dockercfg",
		}},
		{"one file", "linux", map[string]string{"REGISTRY_AUTH_FILE": "a.json", "DOCKER_CONFIG": "/d"}, "/h", []string{"a.json"}},
		{"a variable", "linux", map[string]string{"DOCKER_AUTH_CONFIG": "{}", "REGISTRY_AUTH_FILE": "a.json"}, "/h", []string{
			"DOCKER_AUTH_CONFIG", "a.json",
		}},
		{"no home", "linux", map[string]string{"XDG_RUNTIME_DIR": "/r", "DOCKER_CONFIG": "/d"}, "", []string{
			"/r/containers/auth.json", "/d/config.json",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, s := range local.Sources(local.Environment{
				Get: func(name string) string { return tt.env[name] }, Home: tt.home, OS: tt.os, UID: 7,
			}) {
				got = append(got, s.Path)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Sources: -want +got\n%s", diff)
			}
		})
	}
}

// TestRenewal checks that a login which a registry has refused is read again, but not right after
// it was read.
func TestRenewal(t *testing.T) {
	runs := helper(t, `echo '{"Username":"u","Secret":"p"}'`)
	k, _ := open(t, `{"credHelpers":{"a.example":"test"}}`, auths("b.example"))
	synctest.Test(t, func(t *testing.T) {
		defer k.Close()
		get := func(fresh bool) {
			for _, image := range []string{"a.example/x", "b.example/x"} {
				k.Credentials(t.Context(), ref.MustParse(image), fresh)
			}
		}
		get(false)
		if err := os.WriteFile(k.Sources[1].Path, []byte(auths("c.example")), 0o600); err != nil {
			t.Fatal(err)
		}
		get(true)
		time.Sleep(2 * time.Minute)
		get(false)
		if n := len(lines(t, runs)); n != 1 || user(t, k, "b.example/x") == "" {
			t.Errorf("%d runs of the helper before a refusal, want 1, and the login as it was", n)
		}
		get(true)
		get(true)
		if n := len(lines(t, runs)); n != 2 || user(t, k, "c.example/x") != "c.example" {
			t.Errorf("%d runs of the helper after a refusal, want 2, and the new login", n)
		}
	})
}
