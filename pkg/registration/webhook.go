// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"cmp"
	_ "embed" // the templates
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var (
	//go:embed registration.yaml.tmpl
	registrationTemplate string
	//go:embed webhook.yaml.tmpl
	webhookTemplate string
	// conditions are those that the webhooks and the policies have in common. They are rule 1 of
	// package policy.
	//
	//go:embed conditions.yaml
	conditions string
)

// aboutMode has the comments above the webhooks.
var aboutMode = map[string]string{
	"dry-run": `
# This webhook never denies. It is called for the same requests as
# enforce, and also if an update drops the proposal that the object has.`,
	"keep": `
# This webhook is for switching tagpin off. It puts existing pins back
# into manifests that are applied again, and looks nothing up. It is not called for creations and
# refreshes.`,
}

// somethingTo has the names of the conditions for the built-in kinds.
var somethingTo = map[string]string{"enforce": "pin", "dry-run": "propose", "keep": "keep"}

// yaml returns the registration as YAML.
func (r *Registration) yaml() string {
	var webhooks []string
	for _, mode := range modes() {
		webhooks = append(webhooks, r.webhook(mode))
	}
	return fill(registrationTemplate, map[string]string{
		"{{webhooks}}": strings.Join(webhooks, ""),
	})
}

// webhook returns the webhook of a mode as YAML. That of enforce is the first one. It has the
// anchors for what the others have in common with it.
func (r *Registration) webhook(mode string) string {
	rules, common := "rules: *rules", r.commonAliases()
	if mode == "enforce" {
		rules, common = "rules: &rules\n"+rulesYAML(r.Rules(), "CREATE, UPDATE"), r.commonAnchors()
	}
	failurePolicy, bundle := "Fail", ""
	if r.FailOpen {
		failurePolicy = "Ignore"
	}
	if len(r.CABundle) > 0 {
		bundle = "caBundle: " + base64.StdEncoding.EncodeToString(r.CABundle)
	}
	return fill(webhookTemplate, map[string]string{
		"{{about}}":            aboutMode[mode],
		"{{name}}":             WebhookName(mode),
		"{{service}}":          r.service(mode),
		"{{caBundle}}":         bundle,
		"{{failurePolicy}}":    failurePolicy,
		"{{timeoutSeconds}}":   strconv.Itoa(cmp.Or(r.TimeoutSeconds, 10)),
		"{{namespaces}}":       items(r.Expressions(mode)),
		"{{rules}}":            rules,
		"{{commonConditions}}": common,
		"{{condition}}":        "something-to-" + somethingTo[mode],
		"{{builtin}}":          r.Builtin(mode),
		"{{customConditions}}": r.customConditions(mode),
	})
}

// service returns what the API server calls for a mode.
func (r *Registration) service(mode string) string {
	service := cmp.Or(r.Service, "tagpin-webhook")
	return fmt.Sprintf("{namespace: %s, name: %s, path: /%s}",
		word(r.namespace()), word(service), mode)
}

// rulesYAML returns the rules for some operations as YAML.
func rulesYAML(rules []Rule, operations string) string {
	var texts []string
	for _, rule := range rules {
		texts = append(texts, fmt.Sprintf(
			"operations: [%s]\napiGroups: [%s]\napiVersions: [%s]\nresources: [%s]\nscope: Namespaced",
			operations, word(rule.Group), word(rule.Version), words(rule.Resources)))
	}
	return items(texts)
}

// condition returns a condition as YAML.
func condition(name, expression string) string {
	return "- name: " + name + "\n  expression: |-\n    " + indent(4, expression)
}

// customConditions returns the conditions of a mode for the kinds beyond the built-in ones.
func (r *Registration) customConditions(mode string) string {
	var list []string
	for _, kinds := range r.KindsByPaths() {
		list = append(list, condition(word(conditionName(kinds[0])), r.Custom(mode, kinds)))
	}
	return strings.Join(list, "\n")
}

// selected is the name of the condition for Objects.
const selected = "pod-or-selected"

// commonConditions returns the conditions that the webhooks have in common.
func (r *Registration) commonConditions() string {
	if len(r.Objects) == 0 {
		return conditions
	}
	return conditions + `
# The labels of workloads that tagpin serves. Pods are served whatever their labels: a tenant sets
# these, and could otherwise run an image that is not pinned.
`[1:] + condition(selected, r.Selected()) + "\n"
}

// conditionNames matches the name of each condition.
var conditionNames = regexp.MustCompile(`(?m)^- name: (\S+)$`)

// commonAnchors returns the common conditions, each with an anchor of its name. They are followed
// by a comment about the condition after them.
func (r *Registration) commonAnchors() string {
	return conditionNames.ReplaceAllString(r.commonConditions(), "- &$1\n  name: $1") + `
# The expression maps [object, oldObject] to their pod specs, and these to the [name, reference]
# of all containers and image volumes. It is true for a new object with an unpinned reference, for
# an update that changes the references and has an unpinned one, and for an update that changes a
# refresh marker.`[1:]
}

// commonAliases returns the aliases of the common conditions.
func (r *Registration) commonAliases() string {
	var aliases []string
	for _, match := range conditionNames.FindAllStringSubmatch(r.commonConditions(), -1) {
		aliases = append(aliases, "*"+match[1])
	}
	return items(aliases)
}
