// SPDX-License-Identifier: Apache-2.0

package keychain_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// home creates an empty home directory with a program in the path, and returns it.
func home(t *testing.T, program, script string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"} {
		t.Setenv(name, dir)
	}
	t.Setenv("DOCKER_CONFIG", "")
	t.Setenv("REGISTRY_AUTH_FILE", "")
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	if err := os.WriteFile(filepath.Join(dir, program), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestLocal checks that the credentials that docker login wrote are used, and that a helper that
// fails is reported.
func TestLocal(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("REGISTRY_AUTH_FILE", "")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var reports []error
	l := &keychain.Local{Report: func(err error) { reports = append(reports, err) }}
	write(`{"auths":{"ghcr.io":{"username":"u","password":"p"},"https://index.docker.io/v1/":{"username":"hub","password":"p"}}}`)
	for image, want := range map[string]string{"ghcr.io/a/b": "u", "nginx": "hub", "quay.io/a": ""} {
		got := l.Credentials(t.Context(), ref.MustParse(image), false)
		switch {
		case want == "" && got != nil,
			want != "" && (len(got) != 1 || got[0].Auth.Username != want || got[0].Shared):
			t.Errorf("Credentials(%s) = %v, want the user %q", image, got, want)
		}
	}
	write(`{"credHelpers":{"ghcr.io":"none-such"}}`)
	if got := l.Credentials(t.Context(), ref.MustParse("ghcr.io/a"), false); got != nil || len(reports) != 1 {
		t.Errorf("Credentials with a broken helper = %v, reports %v, want no credential and one report", got, reports)
	}
}

// TestLocalHelper checks that credential helpers are run, and that a helper's identity token is
// returned as one.
func TestLocalHelper(t *testing.T) {
	dir := home(t, "docker-credential-test", `read -r host
case "$host" in
ghcr.io) echo '{"Username":"u","Secret":"p"}' ;;
a.azurecr.io) echo '{"Username":"<token>","Secret":"t"}' ;;
*) echo 'credentials not found in native keychain'; exit 1 ;;
esac
`)
	t.Setenv("DOCKER_CONFIG", dir) // Docker's library determines the home directory once per process
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"credsStore":"test"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &keychain.Local{Report: func(err error) { t.Errorf("reported: %v", err) }}
	for image, want := range map[string][]keychain.Credential{
		"ghcr.io/a":      {{Auth: authn.AuthConfig{Username: "u", Password: "p"}}},
		"a.azurecr.io/a": {{Auth: authn.AuthConfig{IdentityToken: "t"}}},
		"quay.io/a":      nil, // the helper has no credential, which is not a failure
	} {
		if diff := cmp.Diff(want, l.Credentials(t.Context(), ref.MustParse(image), false)); diff != "" {
			t.Errorf("Credentials(%s): -want +got\n%s", image, diff)
		}
	}
}

// TestLocalPodman checks that podman's auth file is used if there is no Docker config.
func TestLocalPodman(t *testing.T) {
	dir := home(t, "none", "exit 1")
	if err := os.Mkdir(filepath.Join(dir, "containers"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := (&keychain.Local{}).Credentials(t.Context(), ref.MustParse("ghcr.io/a"), false); got != nil {
		t.Errorf("without any file: Credentials = %v, want nil", got)
	}
	auths := []byte(`{"auths":{"ghcr.io/team":{"auth":"dTpw"},"ghcr.io":{"auth":"djpw"}}}`)
	if err := os.WriteFile(filepath.Join(dir, "containers", "auth.json"), auths, 0o600); err != nil {
		t.Fatal(err)
	}
	got := (&keychain.Local{}).Credentials(t.Context(), ref.MustParse("ghcr.io/team"), false)
	want := []keychain.Credential{{Auth: authn.AuthConfig{Username: "u", Password: "p"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Credentials: -want +got\n%s", diff)
	}
}

// TestLocalHelperThatHangs checks that a helper that hangs is not waited for after the context has
// ended, and that a failure is reported once.
func TestLocalHelperThatHangs(t *testing.T) {
	dir := home(t, "docker-credential-test", `read -r host
case "$host" in
slow.example) while [ ! -e "$HOME/done" ]; do sleep 0.02; done; exit 1 ;;
*) echo 'the keyring is locked'; exit 1 ;;
esac
`)
	t.Setenv("DOCKER_CONFIG", dir)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"credsStore":"test"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var reports []string
	l := &keychain.Local{Report: func(err error) { reports = append(reports, err.Error()) }}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := l.Credentials(ctx, ref.MustParse("slow.example/a"), false); got != nil {
		t.Errorf("Credentials = %v, want nil", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "done"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		l.Credentials(t.Context(), ref.MustParse("ghcr.io/a"), false)
	}
	if len(reports) != 2 || !strings.Contains(reports[0], "credentials for slow.example: ") ||
		!strings.Contains(reports[1], "the keyring is locked") {
		t.Errorf("reports = %q, want one of each failure", reports)
	}
}
