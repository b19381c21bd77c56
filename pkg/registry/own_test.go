// SPDX-License-Identifier: Apache-2.0

package registry

import "testing"

// A token endpoint is the registry's own, so that it is remembered for all repositories, only if no
// repository's server can stand behind it.
func TestOwnRealm(t *testing.T) {
	c := &Client{Hosts: []Host{{Name: "r.example", AuthHosts: []string{"login.example"}}}}
	if err := c.Init(); err != nil {
		t.Fatal(err)
	}
	for realm, want := range map[string]bool{
		"https://r.example/token":                             true,
		"https://r.example/token/":                            true,
		"https://r.example/artifactory/api/docker/a/v2/token": true,
		"https://R.example:0443/service/token":                true,
		"https://login.example/token":                         true,
		"https://r.example/v2/token":                          false, // a request more for each repository
		"https://r.example/v2/team-a/":                        false,
		"https://r.example/v2/team-a":                         false,
		"https://r.example/v2/team-b/token":                   false,
		"https://r.example/v2/team-a/../../token":             false,
		"https://r.example/v2/team-a/%2e%2e/%2e%2e/token":     false,
		"https://r.example//v2/team-a/token":                  false,
		"https://evil.example/token":                          false,
	} {
		l := c.lookup(head("r.example/team-a/x:1", "a"))
		if got := l.own(challenge{realm: realm}); got != want {
			t.Errorf("own(%s) = %t, want %t", realm, got, want)
		}
	}
}
