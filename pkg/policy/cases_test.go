// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"os"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// TestCasesOfPolicies tests the table that the policies in deploy/policies are tested with, because
// they copy the rules of this package.
func TestCasesOfPolicies(t *testing.T) {
	text, err := os.ReadFile("../../deploy/policies/testdata/cases.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Image      string
		Exempt     []string
		ShortNames string `yaml:"shortNames"`
		Allowed    bool
	}
	if err := yaml.Unmarshal(text, &cases); err != nil || len(cases) < 40 {
		t.Fatalf("cases.yaml has %d cases, error %v, want at least 40", len(cases), err)
	}
	for _, tt := range cases {
		p := policy.Policy{LeaveShortNames: tt.ShortNames == "leave"}
		for _, s := range tt.Exempt {
			pattern, err := policy.ParsePattern(s)
			if err != nil {
				t.Errorf("ParsePattern(%q): %v", s, err)
			}
			p.Exempt = append(p.Exempt, pattern)
		}
		o := object(tt.Image, "", false)
		o.Kind = workload.Kind{Kind: "Pod"}
		plan := p.Decide(policy.Input{Operation: policy.Create, Object: o})
		reason := plan.Decisions[0].Reason
		got := reason == policy.Pinned || reason == policy.Exempt || reason == policy.ShortName
		if got != tt.Allowed {
			t.Errorf("Decide(%s with exemptions %q, short names %q) = %s, allowed %t, want %t",
				tt.Image, tt.Exempt, tt.ShortNames, reason, got, tt.Allowed)
		}
	}
}
