// SPDX-License-Identifier: Apache-2.0

// Package registration writes the registration of the webhook, which says which requests the API
// server sends to tagpin.
//
// The rules and the match conditions (CEL expressions, which the API server evaluates) come from
// one list of kinds: the built-in ones and those of the config. The conditions leave out every
// request for which tagpin would do nothing, so that pinned workloads and unrelated edits do not
// depend on tagpin. If the webhook fails closed, an expression that fails denies the request. The
// expressions therefore allow every field to be missing or null, as it may be in a custom resource.
//
// The package writes YAML, with the reasons as comments, and sets the rules and conditions of an
// existing registration. It also writes policies that demand digests. It connects to no cluster.
package registration

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
)

// Registration is a MutatingWebhookConfiguration. The zero value is that of the default config, for
// tagpin in the namespace tagpin-system.
type Registration struct {
	Namespaces
	// Service is the name of tagpin's Service, in its namespace. Default: tagpin-webhook.
	Service string
	// CABundle has the PEM certificates that verify tagpin's own. Default: none, to be filled in
	// later.
	CABundle []byte
	// PodsOnly pins pods and leaves workloads as they are.
	PodsOnly bool
	// FailOpen admits requests while tagpin can't be reached. It requires PodsOnly: a workload that
	// is applied again without its pin would be rolled out.
	FailOpen bool
	// IgnoreRestart makes kubectl rollout restart keep the pins.
	IgnoreRestart bool
	// Kinds are the kinds beyond the built-in ones.
	Kinds []Kind
}

// Kind is a kind beyond the built-in ones.
type Kind struct {
	Group, Kind string
	// Resource is its name in URLs, such as rollouts. Required.
	Resource string
	// Paths lead to its pod templates, as in workload.Template.
	Paths []string
}

// maxConditions is the number of matchConditions that the API server accepts for one webhook
// (k8s.io/kubernetes pkg/apis/admissionregistration/validation).
const maxConditions = 64

// Validate returns an error if the API server would refuse the registration, or if it would break
// workloads.
func (r *Registration) Validate() error {
	if err := r.Namespaces.Validate(); err != nil {
		return err
	}
	if r.FailOpen && !r.PodsOnly {
		return errors.New("failing open requires that only pods are pinned: " +
			"a workload that is applied again while tagpin can't be reached " +
			"would lose its pin and be rolled out")
	}
	for _, m := range r.Modes() {
		if n := len(m.Conditions) + len(sharedConditions()); n > maxConditions {
			return fmt.Errorf("the templates need %d match conditions, one for each set of paths: "+
				"the API server accepts %d for a webhook", n, maxConditions)
		}
	}
	return nil
}

// WriteYAML validates the registration and writes it.
func (r *Registration) WriteYAML(w io.Writer) error {
	return write(w, r, "registration.yaml.tmpl")
}

// Fill replaces the rules and the conditions of a webhook by those that WriteYAML writes for its
// name. If the name is not that of a mode's webhook, Fill changes nothing.
func (r *Registration) Fill(w *admissionregistrationv1.MutatingWebhook) {
	modes := r.Modes()
	i := slices.IndexFunc(modes, func(m Mode) bool { return m.Webhook() == w.Name })
	if i < 0 {
		return
	}
	w.Rules, w.MatchConditions = r.Rules(), nil
	for _, c := range append(sharedConditions(), modes[i].Conditions...) {
		w.MatchConditions = append(w.MatchConditions, admissionregistrationv1.MatchCondition{
			Name: c.Name, Expression: c.Expression,
		})
	}
}

// Rules returns the resources that the API server may call tagpin for.
func (r *Registration) Rules() []admissionregistrationv1.RuleWithOperations {
	if r.PodsOnly {
		return []admissionregistrationv1.RuleWithOperations{
			rule("", "v1", "pods", "pods/ephemeralcontainers"),
		}
	}
	rules := []admissionregistrationv1.RuleWithOperations{
		rule("", "v1", "pods", "pods/ephemeralcontainers", "podtemplates", "replicationcontrollers"),
		rule("apps", "v1", "deployments", "replicasets", "statefulsets", "daemonsets"),
		rule("batch", "v1", "jobs", "cronjobs"),
	}
	builtin := len(rules)
	for _, k := range r.Kinds {
		others := rules[builtin:]
		i := slices.IndexFunc(others, func(r admissionregistrationv1.RuleWithOperations) bool {
			return r.APIGroups[0] == k.Group
		})
		if i < 0 {
			rules = append(rules, rule(k.Group, "*", k.Resource))
			continue
		}
		others[i].Resources = append(others[i].Resources, k.Resource)
	}
	return rules
}

// rule returns a rule for the creation and the update of some resources of a group.
func rule(group, version string, resources ...string) admissionregistrationv1.RuleWithOperations {
	namespaced := admissionregistrationv1.NamespacedScope
	return admissionregistrationv1.RuleWithOperations{
		Operations: []admissionregistrationv1.OperationType{
			admissionregistrationv1.Create, admissionregistrationv1.Update,
		},
		Rule: admissionregistrationv1.Rule{
			APIGroups:   []string{group},
			APIVersions: []string{version},
			Resources:   resources,
			Scope:       &namespaced,
		},
	}
}

// Mode is one webhook of the registration.
type Mode struct {
	Name, Comment string
	// Conditions are its own, without those that all modes share.
	Conditions []Condition

	verb string // what the webhook does, for the name of its condition
}

// Webhook returns the name of the mode's webhook in the registration.
func (m Mode) Webhook() string { return m.Name + ".tagpin.dev" }

// Condition is a matchCondition, with a comment for the YAML.
type Condition struct{ Name, Comment, Expression string }

// modes returns the modes in their order, without conditions.
func modes() []Mode {
	return []Mode{
		{Name: "enforce", verb: "pin"},
		{Name: "dry-run", verb: "propose", Comment: `This webhook never denies. It is called for the same requests as
enforce, and also if an update drops the proposal that the object has.`},
		{Name: "keep", verb: "keep", Comment: `This webhook is for switching tagpin off. It puts existing pins back
into manifests that are applied again, and looks nothing up. It is not called for creations and
refreshes.`},
	}
}

// IsWebhook reports whether a name in a registration is that of a mode's webhook.
func IsWebhook(name string) bool {
	return slices.ContainsFunc(modes(), func(m Mode) bool { return m.Webhook() == name })
}

// Modes returns the webhooks of the registration in their order.
func (r *Registration) Modes() []Mode {
	all := modes()
	for i := range all {
		m := &all[i]
		m.Conditions = []Condition{{
			Name: "something-to-" + m.verb, Expression: r.builtin(m.Name),
		}}
		for _, kinds := range r.kindsByPaths() {
			m.Conditions = append(m.Conditions, Condition{
				Name: conditionName(kinds[0]), Expression: r.custom(m.Name, kinds),
			})
		}
	}
	return all
}

// kindsByPaths groups the kinds that have the same paths.
func (r *Registration) kindsByPaths() [][]Kind {
	if r.PodsOnly {
		return nil
	}
	var groups [][]Kind
	for _, k := range r.Kinds {
		i := slices.IndexFunc(groups, func(g []Kind) bool { return slices.Equal(g[0].Paths, k.Paths) })
		if i < 0 {
			groups = append(groups, []Kind{k})
			continue
		}
		groups[i] = append(groups[i], k)
	}
	return groups
}

// maxName is the greatest length of a condition's name (a qualified name in k8s.io/apimachinery
// pkg/util/validation).
const maxName = 63

// conditionName returns the name of a kind's condition: the kind and its group. If the name is too
// long, it is cut and ends in a hash, so that it differs from names with the same beginning.
func conditionName(k Kind) string {
	name := strings.TrimSuffix(strings.ToLower(k.Kind+"."+k.Group), ".")
	if len(name) > maxName {
		sum := sha256.Sum256([]byte(name))
		name = fmt.Sprintf("%s-%x", name[:maxName-9], sum[:4])
	}
	return name
}
