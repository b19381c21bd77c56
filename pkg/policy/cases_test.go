// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"os"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
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
		var p policy.Policy
		for _, s := range tt.Exempt {
			pattern, err := policy.ParsePattern(s)
			if err != nil {
				t.Errorf("exemption %s: %v", s, err)
			}
			p.Exempt = append(p.Exempt, pattern)
		}
		o := object(tt.Image, "", false)
		o.Kind = workload.Kind{Kind: "Pod"}
		decisions, _ := p.Decide(policy.Input{Operation: policy.Create, Object: o})
		reason := decisions[0].Reason
		if got := reason == policy.Pinned || reason == policy.Exempt; got != tt.Allowed {
			t.Errorf("%s, exempt %q: allowed %t (%s), want %t", tt.Image, tt.Exempt, got, reason, tt.Allowed)
		}
	}
}
