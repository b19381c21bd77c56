// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"fmt"
	"strings"
)

// Both objects of a request, the new one and the old one, become lists of [name, reference], step by step: a list of the two
// is mapped, and where a path has [*], lists in it. Of an optional in a list, o[0].?x is none (seen in 1.37), so that the lists
// hold values.
const (
	both = "[object, oldObject].map(o, o == null ? dyn({}) : o)"
	// field goes on to a field of every element.
	field = ".map(o, o[?'%s'].orValue(null)).map(o, o == null ? dyn({}) : o)"
	// elements goes on in the elements of a list.
	elements = ".map(o, o[?'%s'].orValue(null)).map(l, (l == null ? dyn([]) : l).map(o, o == null ? dyn({}) : o)"
	// references are those of a pod spec.
	references = `.map(s,
  [s.?initContainers.orValue([]), s.?containers.orValue([]), s.?ephemeralContainers.orValue([])]
    .map(l, l == null ? [] : l.map(c, [c.?name.orValue(''), c.?image.orValue('')])) +
  [s.?volumes.orValue([])]
    .map(l, l == null ? [] : l.filter(v, v.?image.orValue(null) != null).map(v, [v.?name.orValue(''), v.?image.?reference.orValue('')])))`
	// proposed tells that the object holds a proposal.
	proposed = "object.?metadata.?annotations[?'tagpin.dev/proposed-pins'].hasValue()"
	// forgotten tells that it does not hold the proposal that it had: a manifest that was sent again has none.
	forgotten = `request.operation == 'UPDATE' &&
oldObject.?metadata.?annotations[?'tagpin.dev/proposed-pins'].orValue('') != '' &&
oldObject.?metadata.?annotations[?'tagpin.dev/proposed-pins'] != object.?metadata.?annotations[?'tagpin.dev/proposed-pins']`
)

// builtinSpec leads to the pod spec of every built-in kind: spec, spec.template.spec, spec.jobTemplate.spec.template.spec, or
// template.spec.
const builtinSpec = `[object, oldObject]
  .map(o, o == null ? {} : o)
  .map(o, [o.?spec.orValue(null), o.?template.orValue(null)])
  .map(o, [o[0] == null ? {} : o[0], o[1]])
  .map(o, [o[0], o[0].?template.orValue(o[0].?jobTemplate.?spec.?template.orValue(o[1]))])
  .map(o, o[1] == null ? o[0] : o[1].?spec.orValue(null))
  .map(s, s == null ? {} : s)`

// builtinAnnotations leads to those of the pod template.
const builtinAnnotations = `[object, oldObject]
  .map(o, [o.?spec.orValue(null), o.?template.orValue(null)])
  .map(o, [o[0] == null ? {} : o[0], o[1]])
  .map(o, o[0].?template.orValue(o[0].?jobTemplate.?spec.?template.orValue(o[1])))
  .map(t, t == null ? null : t.?metadata.orValue(null))
  .map(m, m == null ? null : m.?annotations.orValue(null))
  .map(a, a == null ? {} : a)`

// Shared are the conditions of all modes.
func (r *Registration) Shared() []Condition { return shared() }

// shared are the conditions that the webhooks and the policies have in common: rule 1 of package
// policy.
func shared() []Condition {
	return []Condition{
		{
			Name: "not-being-deleted",
			About: `Only the old object tells: the API server drops a deletionTimestamp that a request
  # brings, behind the webhooks (k8s.io/kubernetes pkg/registry/core/pod/strategy.go).`,
			Expression: "request.operation == 'CREATE' ||\n" +
				"!oldObject.?metadata.?deletionTimestamp.hasValue()",
		},
		{
			Name: "not-a-mirror-pod",
			About: `A node makes a mirror pod of each of its static pods. Anybody else may write the
  # annotation too, and some kubelets run such a pod.`,
			Expression: `request.kind.kind != 'Pod' || request.operation != 'CREATE' ||
!('system:nodes' in request.userInfo.?groups.orValue([])) ||
!object.?metadata.?annotations[?'kubernetes.io/config.mirror'].hasValue()`,
		},
		{
			Name: "not-made-by-a-controller",
			About: `What a controller owns is as its owner's template says; pinning it would make the two
  # differ for ever. Pods are the exception, and Jobs of a CronJob, whose template may be older
  # than tagpin.`,
			Expression: `request.kind.kind == 'Pod' ||
!object.?metadata.?ownerReferences.orValue([]).exists(o, o.?controller.orValue(false) &&
  !(request.kind.kind == 'Job' && o.?kind.orValue('') == 'CronJob' && o.?apiVersion.orValue('').startsWith('batch/')))`,
		},
	}
}

// builtin is the condition of a mode for the built-in kinds. It holds for the others, which have their own.
func (r *Registration) builtin(mode string) string {
	some := []string{changed(mode, builtinSpec+nest(references), 0)}
	if mode != "keep" && !r.PodsOnly {
		some = append(some, "request.operation == 'UPDATE' && !(request.kind.kind in ['Pod', 'Job']) &&\n"+
			"["+nest(builtinAnnotations)+"\n].exists(a, "+r.markers()+".exists(m,\n"+
			"  a[0][?m].orValue('') != '' && a[0][?m].orValue('') != a[1][?m].orValue('')))")
	}
	if mode == "dry-run" {
		some = append(some, forgotten)
	}
	expression := either(some...)
	var others []Kind
	if !r.PodsOnly {
		others = r.Kinds
	}
	if len(others) == 0 {
		return expression
	}
	return fmt.Sprintf("%s in %s ||\n%s", kindOfRequest, names(others), expression)
}

// custom is the condition of a mode for some kinds with the same paths. It holds for all others.
func (r *Registration) custom(mode string, kinds []Kind) string {
	var some []string
	for _, path := range kinds[0].Paths {
		templates, depth := walk(path)
		some = append(some, changed(mode, both+templates(fmt.Sprintf(field, "spec")+nest(references)), depth))
		if mode != "keep" {
			some = append(some, r.refreshed(templates, depth))
		}
	}
	if mode != "keep" {
		// The CRD may prune the metadata of its templates: the marker is read in the object's own too.
		some = append(some, "request.operation == 'UPDATE' &&\n"+
			"[[object, oldObject].map(o, o.?metadata.?annotations[?'tagpin.dev/refresh'].orValue(''))\n].exists(a, a[0] != '' && a[0] != a[1])")
	}
	if mode == "dry-run" {
		some = append(some, forgotten)
	}
	return fmt.Sprintf("!(%s in %s) ||\n%s", kindOfRequest, names(kinds), either(some...))
}

const kindOfRequest = "request.kind.kind + '.' + request.kind.group"

func names(kinds []Kind) string {
	var list []string
	for _, k := range kinds {
		list = append(list, "'"+k.Kind+"."+k.Group+"'")
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// markers are the annotations that ask for a refresh.
func (r *Registration) markers() string {
	if r.IgnoreRestart {
		return "['tagpin.dev/refresh']"
	}
	return "['tagpin.dev/refresh', 'kubectl.kubernetes.io/restartedAt']"
}

// changed tells that references are not as they were, and that one of them is unpinned, or was proposed to be pinned; of a
// creation, the latter alone.
// refs is an expression for the references of both objects, in so many lists.
func changed(mode, refs string, depth int) string {
	const perSpec = 2 // a list for each kind of container
	update, when, some := "", "(request.operation == 'CREATE' || refs[0] != refs[1])", exists("refs[0]", depth+perSpec, unpinned)
	switch mode {
	case "enforce", "dry-run": // a proposal for what is not there any more is removed
		some = "(" + proposed + " ||\n  " + some + ")"
	case "keep":
		update, when = "request.operation == 'UPDATE' &&\n", "refs[0] != refs[1]"
	}
	return update + "[" + nest(refs) + "\n].exists(refs,\n  " + when + " &&\n  " + some + "\n)"
}

// refreshed tells that a marker of a template is not as it was, and that there is one.
func (r *Registration) refreshed(templates func(string) string, depth int) string {
	values := fmt.Sprintf(field, "metadata") + "\n" + fmt.Sprintf(field, "annotations") +
		"\n.map(a, " + r.markers() + ".map(m, a[?m].orValue('')))"
	some := exists("marks[0]", depth+1, func(value string) string { return value + " != ''" })
	return "request.operation == 'UPDATE' &&\n[" + nest(both+templates(values)) +
		"\n].exists(marks, marks[0] != marks[1] && " + some + ")"
}

// exists tells of lists in lists, so deep, that an element holds.
func exists(list string, depth int, holds func(element string) string) string {
	if depth == 0 {
		return holds(list)
	}
	element := fmt.Sprintf("e%d", depth)
	return fmt.Sprintf("%s.exists(%s, %s)", list, element, exists(element, depth-1, holds))
}

// unpinned tells of [name, reference] that there is no digest. In the grammar of references an @ begins a digest and nothing
// else, and matching a pattern for it would be beyond the cost that the API server allows for objects of thousands of
// containers.
func unpinned(r string) string { return fmt.Sprintf("%s[1] == null || !%s[1].contains('@')", r, r) }

// walk leads from both objects to the pod templates at a path: its result puts then behind them, inside of as many lists
// as the path has.
func walk(path string) (templates func(then string) string, depth int) {
	before, after := "", ""
	for _, step := range strings.Split(path, ".") {
		name, list := strings.CutSuffix(step, "[*]")
		if !list {
			before += "\n" + fmt.Sprintf(field, name)
			continue
		}
		before += "\n" + fmt.Sprintf(elements, name)
		after += ")"
		depth++
	}
	return func(then string) string { return nest(before + "\n" + then + after) }, depth
}

// nest indents all lines but the first.
func nest(text string) string { return strings.ReplaceAll(text, "\n", "\n  ") }

func either(expressions ...string) string {
	if len(expressions) == 1 {
		return expressions[0]
	}
	return "(" + strings.Join(expressions, ") || (") + ")"
}
