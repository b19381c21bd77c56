// SPDX-License-Identifier: Apache-2.0

// Package registration writes the webhook's registration: which requests call tagpin, and which are spared.
//
// The rules and the conditions (CEL, evaluated by the API server) come from one list: the built-in kinds, and those that the
// config adds. Conditions spare every call that could do nothing, so that pinned workloads and unrelated edits never depend
// on tagpin. An expression that fails denies, where the registration fails closed, so that each field is guarded: in a custom
// resource it may be missing or null.
//
// It writes YAML, with the reasons as comments, for people to read and keep, and fills in a registration that has none of
// them; it talks to no cluster.
package registration

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/template"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"
)

// Registration is a MutatingWebhookConfiguration. The zero value is that of deploy/kustomize.
type Registration struct {
	Namespaces
	// Service is where tagpin is, in its namespace. Default: tagpin-webhook.
	Service string
	// CABundle are the PEM certificates that its own is signed by. Default: none, to be filled in.
	CABundle []byte
	// PodsOnly leaves workloads as they are: pods alone are pinned.
	PodsOnly bool
	// FailOpen lets requests through while tagpin can't be asked. It needs PodsOnly: a workload that is applied again without
	// its pin is rolled out.
	FailOpen bool
	// IgnoreRestart makes kubectl rollout restart no refresh.
	IgnoreRestart bool
	// Kinds are those beyond the built-in ones.
	Kinds []Kind
}

// Kind is a kind beyond the built-in ones.
type Kind struct {
	Group, Kind string
	// Resource is its name in URLs: rollouts. Required.
	Resource string
	// Paths lead to its pod templates, as those of workload.Template.
	Paths []string
}

// maxConditions is how many matchConditions the API server takes for one webhook
// (k8s.io/kubernetes pkg/apis/admissionregistration/validation).
const maxConditions = 64

//go:embed *.yaml.tmpl
var files embed.FS

// Validate says why the registration can't be.
func (r *Registration) Validate() error {
	if err := r.Namespaces.Validate(); err != nil {
		return err
	}
	if r.FailOpen && !r.PodsOnly {
		return errors.New("to fail open is for pods alone: a workload that is applied again while tagpin is away would lose its pin and be rolled out")
	}
	for _, m := range r.Modes() {
		if len(m.Conditions)+len(r.Shared()) > maxConditions {
			return fmt.Errorf("%d kinds with paths of their own: the API server takes %d conditions a webhook", len(m.Conditions)-1, maxConditions)
		}
	}
	return nil
}

// WriteYAML writes the registration.
func (r *Registration) WriteYAML(w io.Writer) error {
	if err := r.Validate(); err != nil {
		return err
	}
	return write(w, "registration.yaml.tmpl", r)
}

func write(w io.Writer, name string, data any) error {
	t, err := template.New(name).Funcs(template.FuncMap{"indent": indent, "words": words}).ParseFS(files, name)
	if err != nil {
		return err
	}
	return t.Execute(w, data)
}

// Fill gives a webhook, by its name, the rules and the conditions that WriteYAML writes. It returns false, and leaves it as it
// is, where the name is none of a mode.
func (r *Registration) Fill(w *admissionregistrationv1.MutatingWebhook) bool {
	modes := r.Modes()
	i := slices.IndexFunc(modes, func(m Mode) bool { return m.Webhook() == w.Name })
	if i < 0 {
		return false
	}
	w.Rules, w.MatchConditions = r.Rules(), nil
	for _, c := range append(r.Shared(), modes[i].Conditions...) {
		w.MatchConditions = append(w.MatchConditions, admissionregistrationv1.MatchCondition{Name: c.Name, Expression: c.Expression})
	}
	return true
}

// words is a list as YAML.
func words(list []string) string {
	quoted := make([]string, len(list))
	for i, w := range list {
		quoted[i] = word(w)
	}
	return strings.Join(quoted, ", ")
}

// word is a text as YAML, quoted where it would be read as something else: *, off, 1234.
func word(w string) string {
	var read []any
	if err := yaml.Unmarshal([]byte("["+w+"]"), &read); err != nil || len(read) != 1 || read[0] != w {
		return strconv.Quote(w)
	}
	return w
}

// indent puts a text of several lines into a block of YAML.
func indent(n int, text string) string {
	return strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+strings.Repeat(" ", n))
}

// At is the namespace and the service, as YAML.
func (r *Registration) At() string {
	service := r.Service
	if service == "" {
		service = "tagpin-webhook"
	}
	return fmt.Sprintf("namespace: %s, name: %s", word(r.own()), word(service))
}

// CA is the CA bundle as YAML, or nothing.
func (r *Registration) CA() string {
	if len(r.CABundle) == 0 {
		return ""
	}
	return "\n    caBundle: " + base64.StdEncoding.EncodeToString(r.CABundle)
}

// FailurePolicy is what becomes of a request while tagpin can't be asked.
func (r *Registration) FailurePolicy() string {
	if r.FailOpen {
		return "Ignore"
	}
	return "Fail"
}

// Rules are the resources that tagpin is called for, at all.
func (r *Registration) Rules() []admissionregistrationv1.RuleWithOperations {
	if r.PodsOnly {
		return []admissionregistrationv1.RuleWithOperations{rule("", "v1", "pods", "pods/ephemeralcontainers")}
	}
	rules := []admissionregistrationv1.RuleWithOperations{
		rule("", "v1", "pods", "pods/ephemeralcontainers", "podtemplates", "replicationcontrollers"),
		rule("apps", "v1", "deployments", "replicasets", "statefulsets", "daemonsets"),
		rule("batch", "v1", "jobs", "cronjobs"),
	}
	at := map[string]int{}
	for _, k := range r.Kinds {
		if i, ok := at[k.Group]; ok {
			rules[i].Resources = append(rules[i].Resources, k.Resource)
			continue
		}
		at[k.Group] = len(rules)
		rules = append(rules, rule(k.Group, "*", k.Resource))
	}
	return rules
}

// rule is some resources of a group, when they are created or updated.
func rule(group, version string, resources ...string) admissionregistrationv1.RuleWithOperations {
	namespaced := admissionregistrationv1.NamespacedScope
	return admissionregistrationv1.RuleWithOperations{
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
		Rule: admissionregistrationv1.Rule{
			APIGroups: []string{group}, APIVersions: []string{version}, Resources: resources, Scope: &namespaced,
		},
	}
}

// Mode is one entry of the registration.
type Mode struct {
	Name, About string
	// Conditions are its own, beside those of all modes.
	Conditions []Condition
}

// Webhook is its name in the registration.
func (m Mode) Webhook() string { return m.Name + ".tagpin.dev" }

// Condition is a matchCondition.
type Condition struct{ Name, About, Expression string }

// bare are the modes without their conditions, in their order.
func bare() []Mode {
	return []Mode{
		{Name: "enforce"},
		{Name: "dry-run", About: "Never denies. It is called as enforce is, and also where an object would lose the proposal that stands in it."},
		{Name: "keep", About: `The way out: pins that are there are put back into re-applied manifests, and nothing is looked up. It has nothing to do
# for what is created or refreshed.`},
	}
}

// IsMode tells whether a webhook's name in a registration is that of a mode.
func IsMode(webhook string) bool {
	return slices.ContainsFunc(bare(), func(m Mode) bool { return m.Webhook() == webhook })
}

// Modes are the entries, in their order.
func (r *Registration) Modes() []Mode {
	modes := bare()
	for i := range modes {
		m := &modes[i]
		m.Conditions = []Condition{{Name: "something-to-" + verb(m.Name), Expression: r.builtin(m.Name)}}
		for _, group := range r.byPaths() {
			m.Conditions = append(m.Conditions, Condition{Name: conditionName(group[0]), Expression: r.custom(m.Name, group)})
		}
	}
	return modes
}

func verb(mode string) string {
	switch mode {
	case "dry-run":
		return "propose"
	case "keep":
		return "keep"
	}
	return "pin"
}

// byPaths are the kinds, those with the same paths together.
func (r *Registration) byPaths() [][]Kind {
	if r.PodsOnly {
		return nil
	}
	var groups [][]Kind
	at := map[string]int{}
	for _, k := range r.Kinds {
		paths := strings.Join(k.Paths, " ")
		i, ok := at[paths]
		if !ok {
			i = len(groups)
			at[paths] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], k)
	}
	return groups
}

// maxName is how long the API server takes the name of a condition to be (a qualified name's, of
// k8s.io/apimachinery pkg/util/validation).
const maxName = 63

// conditionName is a kind's with its group. One that is too long ends in a hash, which tells it from others that begin alike.
func conditionName(k Kind) string {
	name := strings.TrimSuffix(strings.ToLower(k.Kind+"."+k.Group), ".")
	if len(name) > maxName {
		sum := sha256.Sum256([]byte(name))
		name = fmt.Sprintf("%s-%x", name[:maxName-9], sum[:4])
	}
	return name
}
