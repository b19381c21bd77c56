// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"testing"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

func TestPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern, image string
		want           bool
	}{
		{"docker.io/library/*", "nginx", true},
		{"docker.io/library/*", "docker.io/team/nginx", false},
		{"localhost:5000/team/*", "localhost:5000/team/x:1", true},
		{"localhost:5000/team/*", "localhost:5000/teammate/x", false},
		{"ghcr.io/a/b", "ghcr.io/a/b:9", true},
		{"ghcr.io/a/b", "ghcr.io/a/bc", false},
		{"ghcr.io/a/b", "ghcr.io/a/b/c", false},
		{"ghcr.io/a/b:1.2", "ghcr.io/a/b:1.2", true},
		{"ghcr.io/a/b:1.2", "ghcr.io/a/b:1.20", false},
		{"docker.io/library/auto:latest", "auto", true},
		{"docker.io/library/auto:latest", "auto:1", false},
		{"host:5000/a", "host:5000/a", true},
	} {
		p, err := policy.ParsePattern(tt.pattern)
		if err != nil {
			t.Errorf("ParsePattern(%q): %v", tt.pattern, err)
			continue
		}
		if got := p.Match(ref.MustParse(tt.image)); got != tt.want {
			t.Errorf("%q.Match(%q) = %t, want %t", tt.pattern, tt.image, got, tt.want)
		}
	}
	for _, s := range []string{
		"", "*", "nginx", "nginx*", "a/*/b", "a/b:*x", "ghcr.io/a" + d1, "GHCR.io/A",
		"index.docker.io/a/b", "/x*", "bitnami/*", "library/*", "index.docker.io/library/*",
		"ghcr.io/A*",
	} {
		if p, err := policy.ParsePattern(s); err == nil {
			t.Errorf("ParsePattern(%q) = %+v, want an error", s, p)
		}
	}
}

func TestSkipOwner(t *testing.T) {
	users := []string{"system:serviceaccount:cnpg-system:*", "admin"}
	s, err := policy.ParseSkipOwner("postgresql.cnpg.io/Cluster", users)
	if err != nil {
		t.Fatal(err)
	}
	owner := workload.Owner{APIVersion: "postgresql.cnpg.io/v1", Kind: "Cluster"}
	for user, want := range map[string]bool{
		"system:serviceaccount:cnpg-system:operator": true,
		"system:serviceaccount:other:x":              false,
		"admin":                                      true,
		"administrator":                              false,
		"":                                           false,
	} {
		if got := s.Match(owner, user); got != want {
			t.Errorf("Match(%q) = %t, want %t", user, got, want)
		}
	}
	owner.APIVersion = "evil.example/v1"
	if s.Match(owner, "admin") {
		t.Errorf("Match(%+v) = true, want false for another group", owner)
	}
	for _, tt := range []struct {
		owner string
		users []string
	}{
		{"", []string{"a"}},
		{"a/b/C", []string{"a"}},
		{"g/K", nil},
		{"g/K", []string{"*"}},
		{"g/K", []string{"a*b"}},
	} {
		if got, err := policy.ParseSkipOwner(tt.owner, tt.users); err == nil {
			t.Errorf("ParseSkipOwner(%q, %q) = %+v, want an error", tt.owner, tt.users, got)
		}
	}
}
