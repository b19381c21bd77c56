// SPDX-License-Identifier: Apache-2.0

package keychain_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// credentials returns shared credentials of some users.
func credentials(users ...string) (creds []keychain.Credential) {
	for _, u := range users {
		creds = append(creds, keychain.Credential{
			Auth: authn.AuthConfig{Username: u, Password: "p"}, Shared: true,
		})
	}
	return creds
}

// TestFile checks that a changed file is read, and that the last good version stays if it becomes
// invalid.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	var reports []string
	f := &keychain.File{
		Path: path, Interval: time.Nanosecond,
		Report: func(err error) { reports = append(reports, err.Error()) },
	}
	r := ref.MustParse("ghcr.io/a/b")
	at := time.Now().Add(-time.Hour)
	for i, step := range []struct {
		name    string
		data    []byte // nil if there is no file
		want    []keychain.Credential
		reports int
	}{
		{"missing", nil, nil, 1},
		{"still missing", nil, nil, 1},
		{"present", config("ghcr.io", "one"), credentials("one"), 1},
		{"unchanged", config("ghcr.io", "one"), credentials("one"), 1},
		{"changed", config("ghcr.io", "two"), credentials("two"), 1},
		{"invalid", []byte("canary"), credentials("two"), 2},
		{"one invalid entry", []byte(`{"auths":{"quay.io":"canary","ghcr.io":{"username":"three","password":"p"}}}`), credentials("three"), 3},
		{"too large", []byte(strings.Repeat(" ", 1<<20+1)), credentials("three"), 4},
		{"removed", nil, credentials("three"), 5},
	} {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if step.data != nil {
			if err := os.WriteFile(path, step.data, 0o600); err != nil {
				t.Fatal(err)
			}
			when := at.Add(time.Duration(i) * time.Second)
			if err := os.Chtimes(path, when, when); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(step.want, f.Credentials(t.Context(), r, false)); diff != "" {
			t.Errorf("%s: -want +got\n%s", step.name, diff)
		}
		if len(reports) != step.reports {
			t.Errorf("%s: %d reports, want %d: %q", step.name, len(reports), step.reports, reports)
		}
	}
	if all := strings.Join(reports, "\n"); strings.Contains(all, "canary") || !strings.Contains(all, path) {
		t.Errorf("reports are %s, want the path, but no content of the file", all)
	}
}

// TestFileInterval checks that the file is not read again within the interval, unless a credential
// was refused.
func TestFileInterval(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	f := &keychain.File{Path: path, Interval: time.Hour}
	r := ref.MustParse("ghcr.io/a/b")
	for _, step := range []struct {
		user, want string
		fresh      bool
	}{{"one", "one", false}, {"second", "one", false}, {"second", "second", true}} {
		if err := os.WriteFile(path, config("ghcr.io", step.user), 0o600); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(credentials(step.want), f.Credentials(t.Context(), r, step.fresh)); diff != "" {
			t.Errorf("Credentials: -want +got\n%s", diff)
		}
	}
	var none *keychain.File
	if got := none.Credentials(t.Context(), r, false); got != nil {
		t.Errorf("nil File: Credentials = %v, want nil", got)
	}
}

// fixed returns a Keychain that always returns the same credentials.
func fixed(creds []keychain.Credential) keychain.Keychain {
	return keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
		return creds
	})
}

func TestChain(t *testing.T) {
	r := ref.MustParse("ghcr.io/a/b")
	chain := keychain.Chain{
		fixed(credentials("a")), keychain.Chain{}, fixed(credentials("b", "c")),
	}
	got := chain.Credentials(t.Context(), r, false)
	if diff := cmp.Diff(credentials("a", "b", "c"), got); diff != "" {
		t.Errorf("Chain: -want +got\n%s", diff)
	}
	if got := (keychain.Chain{}).Credentials(t.Context(), r, false); got != nil {
		t.Errorf("empty Chain: Credentials = %v, want nil", got)
	}
}

// TestChainCopies checks that a Chain does not write to a slice of one of its keychains.
func TestChainCopies(t *testing.T) {
	remembered := make([]keychain.Credential, 1, 4)
	remembered[0] = credentials("a")[0]
	chain := keychain.Chain{fixed(remembered), fixed(credentials("b"))}
	chain.Credentials(t.Context(), ref.MustParse("a"), false)
	if got := remembered[:2][1]; got != (keychain.Credential{}) {
		t.Errorf("after the keychain's own credentials, its slice has %v, want the zero value", got)
	}
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
