// SPDX-License-Identifier: Apache-2.0

// Package registration writes the registration of the webhook, which says which requests the API
// server sends to tagpin.
//
// The rules and the match conditions (CEL expressions, which the API server evaluates) come from
// one list of kinds: the built-in ones and those of the config. The conditions leave out requests
// without an image to pin and without a refresh, so that pinned workloads and unrelated edits do
// not depend on tagpin. If the webhook fails closed, an expression that fails denies the request.
// The expressions therefore allow every field to be missing or null, as it may be in a custom
// resource.
//
// The package writes YAML, with the reasons as comments, and returns the same webhooks as
// objects. It also writes policies that demand digests. It connects to no cluster.
package registration

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
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
	// TimeoutSeconds is how long the API server waits for an answer. Default: 10.
	TimeoutSeconds int
	// Objects must hold for the labels of a workload. It has no effect on pods: see Selected. It
	// requires that workloads are pinned. Default: it holds for all.
	Objects []metav1.LabelSelectorRequirement
	// IgnoreRestart makes kubectl rollout restart keep the pins.
	IgnoreRestart bool
	// RefreshAnnotations are further annotations that make a restart resolve the pins again.
	RefreshAnnotations []string
	// Kinds are the kinds beyond the built-in ones.
	Kinds []Kind
}

// Kind is a kind beyond the built-in ones.
type Kind struct {
	Group, Kind string
	// Resource is its name in URLs, such as rollouts. Required.
	Resource string
	// Paths lead to its pod templates, as in workload.Table.
	Paths []string
	// Images lead to its images outside of pod templates, as in workload.Table.
	Images []string
}

// maxConditions is the number of matchConditions that the API server accepts for one webhook
// (k8s.io/kubernetes pkg/apis/admissionregistration/validation).
const maxConditions = 64

// builtinConditions is the number of matchConditions that each webhook has in any case.
const builtinConditions = 4

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
	if len(r.Objects) > 0 && r.PodsOnly {
		return errors.New("a selector of objects requires that workloads are pinned: " +
			"it has no effect on pods")
	}
	if err := validateSelector(r.Objects); err != nil {
		return fmt.Errorf("selector of objects: %w", err)
	}
	n := builtinConditions + len(r.KindsByPaths())
	if len(r.Objects) > 0 {
		n++
	}
	if n > maxConditions {
		return fmt.Errorf("the templates need %d match conditions, one for each set of paths: "+
			"the API server accepts %d for a webhook", n, maxConditions)
	}
	return nil
}

// WriteYAML validates the registration and writes it.
func (r *Registration) WriteYAML(w io.Writer) error {
	return write(w, r, r.yaml)
}

// Webhooks returns the webhooks as WriteYAML writes them. It parses the YAML, which takes
// milliseconds.
func (r *Registration) Webhooks() ([]admissionregistrationv1.MutatingWebhook, error) {
	var c admissionregistrationv1.MutatingWebhookConfiguration
	err := yaml.UnmarshalStrict([]byte(r.yaml()), &c)
	return c.Webhooks, err
}

// Rule selects resources of a group that the API server may call tagpin for.
type Rule struct {
	Group, Version string
	Resources      []string
}

// Rules returns the resources that the API server may call tagpin for.
func (r *Registration) Rules() []Rule {
	if r.PodsOnly {
		return []Rule{{"", "v1", []string{"pods", "pods/ephemeralcontainers"}}}
	}
	core := []string{"pods", "pods/ephemeralcontainers", "podtemplates", "replicationcontrollers"}
	rules := []Rule{
		{"", "v1", core},
		{"apps", "v1", []string{"deployments", "replicasets", "statefulsets", "daemonsets"}},
		{"batch", "v1", []string{"jobs", "cronjobs"}},
	}
	for _, kinds := range r.groupKinds(func(a, b Kind) bool { return a.Group == b.Group }) {
		rule := Rule{Group: kinds[0].Group, Version: "*"}
		for _, k := range kinds {
			rule.Resources = append(rule.Resources, k.Resource)
		}
		rules = append(rules, rule)
	}
	return rules
}

// modes returns the modes, each of which has a webhook, in their order.
func modes() []string { return []string{"enforce", "dry-run", "keep"} }

// WebhookName returns the name of a mode's webhook in the registration.
func WebhookName(mode string) string { return mode + ".tagpin.dev" }

// IsWebhook reports whether a name in a registration is that of a mode's webhook.
func IsWebhook(name string) bool {
	return slices.ContainsFunc(modes(), func(m string) bool { return WebhookName(m) == name })
}

// KindsByPaths groups the kinds that have the same paths.
func (r *Registration) KindsByPaths() [][]Kind {
	return r.groupKinds(func(a, b Kind) bool {
		return slices.Equal(a.Paths, b.Paths) && slices.Equal(a.Images, b.Images)
	})
}

// groupKinds returns groups of the kinds that have something in common. There are none if only pods
// are pinned.
func (r *Registration) groupKinds(common func(a, b Kind) bool) [][]Kind {
	if r.PodsOnly {
		return nil
	}
	var groups [][]Kind
	for _, k := range r.Kinds {
		i := slices.IndexFunc(groups, func(g []Kind) bool { return common(g[0], k) })
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
