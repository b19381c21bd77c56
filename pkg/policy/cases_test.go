// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"os"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
)

// TestCasesOfPolicies has the table that the policies of deploy/policies are tested by, for the rules that they copy.
func TestCasesOfPolicies(t *testing.T) {
	text, err := os.ReadFile("../../deploy/policies/testdata/cases.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Image   string
		Exempt  []string
		Allowed bool
	}
	if err := yaml.Unmarshal(text, &cases); err != nil || len(cases) < 40 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, tt := range cases {
		r, err := ref.Parse(tt.Image)
		exempt := slices.ContainsFunc(tt.Exempt, func(s string) bool {
			p, err := policy.ParsePattern(s)
			if err != nil {
				t.Errorf("exemption %s: %v", s, err)
			}
			return p.Match(r)
		})
		if got := err == nil && (r.Pinned() || exempt); got != tt.Allowed {
			t.Errorf("%s, exempt %q: allowed %t, want %t (%v)", tt.Image, tt.Exempt, got, tt.Allowed, err)
		}
	}
}
