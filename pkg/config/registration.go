// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/validate/content"
)

// maxWebhookTimeout is the largest timeoutSeconds that the API server accepts.
const maxWebhookTimeout = 30

func (c *Config) checkRegistration(p *problems) {
	r := &c.Registration
	p.check(r.Name == "" || isName(r.Name), "registration.name",
		"%q is not a valid name of a MutatingWebhookConfiguration", r.Name)
	pins := slices.Sorted(slices.Values(r.Pin))
	podsOnly := slices.Equal(pins, []string{Pods})
	p.check(podsOnly || slices.Equal(pins, []string{Pods, Workloads}),
		"registration.pin", "%q: want [workloads, pods], or [pods] alone", r.Pin)
	if r.DefaultMode != "" {
		p.oneOf("registration.defaultMode", r.DefaultMode, "enforce", "dry-run")
	}
	for i, name := range r.ExcludedNamespaces {
		p.check(len(content.IsDNS1123Label(name)) == 0, index("registration.excludedNamespaces", i),
			"%q is not a valid name of a namespace", name)
	}
	r.NamespaceSelector.check(p, "registration.namespaceSelector")
	r.ObjectSelector.check(p, "registration.objectSelector")
	p.check(!podsOnly || len(r.ObjectSelector.Expressions()) == 0, "registration.objectSelector",
		"it selects workloads, and registration.pin is [pods]")
	p.oneOf("registration.failurePolicy", r.FailurePolicy, "Fail", "Ignore")
	p.check(r.FailurePolicy != "Ignore" || podsOnly, "registration.failurePolicy",
		"Ignore requires registration.pin: [pods]: a workload that is applied again while tagpin "+
			"can't be reached would lose its pin and be rolled out")
	p.within("registration.timeoutSeconds", r.TimeoutSeconds, maxWebhookTimeout)
}

// Expressions returns all parts of the selector as expressions: those of MatchLabels by their keys,
// then MatchExpressions.
func (s *LabelSelector) Expressions() (all []LabelExpression) {
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		values := []string{s.MatchLabels[key]}
		all = append(all, LabelExpression{Key: key, Operator: "In", Values: values})
	}
	return append(all, s.MatchExpressions...)
}

func (s *LabelSelector) check(p *problems, field string) {
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		checkLabel(p, field+".matchLabels", key, s.MatchLabels[key])
	}
	for i, e := range s.MatchExpressions {
		at := index(field+".matchExpressions", i)
		checkLabel(p, at, e.Key, e.Values...)
		p.oneOf(at+".operator", e.Operator, "In", "NotIn", "Exists", "DoesNotExist")
		switch e.Operator {
		case "In", "NotIn":
			p.check(len(e.Values) > 0, at+".values", "%s requires values", e.Operator)
		case "Exists", "DoesNotExist":
			p.check(len(e.Values) == 0, at+".values", "%s has no values", e.Operator)
		}
	}
}

func checkLabel(p *problems, field, key string, values ...string) {
	p.check(len(content.IsLabelKey(key)) == 0, field,
		"%q is not a valid name of a label, such as team or app.kubernetes.io/name", key)
	for _, v := range values {
		p.check(len(content.IsLabelValue(v)) == 0, field, "%q is not a valid value of a label", v)
	}
}
