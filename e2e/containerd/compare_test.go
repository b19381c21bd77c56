// SPDX-License-Identifier: Apache-2.0

//go:build linux

package containerd

import (
	"context"
	"regexp"
	"testing"

	"github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
)

// TestSameAsContainerd pulls the image of each case with containerd and resolves it with tagpin.
func TestSameAsContainerd(t *testing.T) {
	if env.unsupported != nil {
		t.Skip(env.unsupported)
	}
	p := readPage(t)
	for _, c := range registrytest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			p.check(t, compare(t, c))
		})
	}
}

// compare lets containerd and tagpin look for the image of a case.
func compare(t *testing.T, c registrytest.Case) row {
	t.Helper()
	w := registrytest.Start(t, c.Rules)
	hosts := c.Hosts(w)
	pulled, pullErr := start(t, w, hosts).pull(t, c.Reference(w), c.Credentials)
	leaks := w.Leaks()

	client := w.Client(hosts...)
	resolver := &resolve.Mirrors{
		Next: &resolve.Credentials{Next: &resolve.Registry{Client: client}}, Client: client,
	}
	keys := func(context.Context, ref.Reference, bool) []keychain.Credential { return c.Credentials }
	resolved, err := resolver.Resolve(t.Context(), resolve.Request{
		Ref: ref.MustParse(c.Reference(w)), Keychain: keychain.Func(keys), Fresh: true,
	})
	class, _ := resolvetest.Class(err)
	t.Logf("containerd: %v, %v; tagpin: %v, %v", pulled, pullErr, resolved.Digest, err)
	return row{
		name: c.Name, containerd: describePull(pullErr, leaks),
		tagpin: describe(resolved.Digest, pulled, class),
		rule:   rules[c.Name], broken: pullErr == nil && resolved.Digest != pulled,
	}
}

// httpStatus matches the status at the end of an error of containerd.
var httpStatus = regexp.MustCompile(`: (\d{3} [A-Z][A-Za-z ]+)$`)

// describePull says what containerd did. Its errors are reduced to what is the same everywhere.
func describePull(err error, leaks []string) string {
	text := "fails"
	found := httpStatus.FindStringSubmatch(status.Convert(err).Message())
	switch {
	case err == nil:
		text = "pulls"
	case status.Code(err) == codes.DeadlineExceeded:
		text = "hangs"
	case status.Code(err) == codes.NotFound:
		text = "not found"
	case found != nil:
		text = "fails: " + found[1]
	}
	for _, leak := range leaks {
		if leak == registrytest.CredentialLeak {
			return text + "; another host gets the credential"
		}
	}
	return text
}

// describe says what tagpin found, beside what containerd has pulled.
func describe(resolved, pulled digest.Digest, class failure.Class) string {
	switch {
	case resolved == "":
		return string(class)
	case pulled == "" || resolved == pulled:
		return "resolves"
	}
	return "another digest"
}
