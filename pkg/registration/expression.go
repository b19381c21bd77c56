// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"fmt"
	"strings"

	"github.com/tagpin/tagpin/pkg/workload"
)

// The CEL expressions map a list of both objects, the new one and the old one, step by step to
// their pod specs, and each pod spec to its references as [name, reference]. For each [*] in the
// path of a template there is one more level of lists. The lists hold values and no optionals:
// o[0].?x has no value if o[0] is an optional (seen in Kubernetes 1.37).
const (
	both = "[object, oldObject].map(o, o == null ? dyn({}) : o)"
	// field maps each object to one of its fields. Another value than an object counts as none.
	field = ".map(o, o[?'%s'].orValue(null)).map(o, type(o) == map ? o : dyn({}))"
	// elements maps each object to the elements of one of its lists. The caller closes the
	// parenthesis after what is to be done with each element.
	elements = ".map(o, o[?'%s'].orValue(null))" +
		".map(l, (type(l) == list ? l : dyn([])).map(o, type(o) == map ? o : dyn({}))"
	// image maps each object to a list of [name, reference] for one of its fields, or to an empty list
	// if the field has no text.
	image = ".map(o, [o[?'%s'].orValue(dyn(''))].filter(i, type(i) == string && i != '')" +
		".map(i, [o[?'name'].orValue(dyn('')), i]))"
	// proposal is the annotation of a proposal, below an object.
	proposal = ".?metadata.?annotations[?'" + workload.AnnotationProposedPins + "']"
	// proposed holds if the object has a proposal.
	proposed = "object" + proposal + ".hasValue()"
	// forgotten holds if the update drops or changes the proposal that the object had. A manifest
	// that is applied again has no proposal.
	forgotten = "request.operation == 'UPDATE' &&\n" +
		"oldObject" + proposal + ".orValue('') != '' &&\n" +
		"oldObject" + proposal + " !=\n  object" + proposal
)

// references maps each pod spec to the references of each list of containers and of the volumes.
func references() string {
	var lists []string
	for _, name := range workload.ContainerLists {
		lists = append(lists, "s.?"+name+".orValue([])")
	}
	return fmt.Sprintf(`.map(s,
  [%s]
    .map(l, l == null ? [] : l.map(c, [c.?name.orValue(''), c.?image.orValue('')])) +
  [s.?volumes.orValue([])]
    .map(l, l == null ? [] : l.filter(v, v.?image.orValue(null) != null)
      .map(v, [v.?name.orValue(''), v.?image.?reference.orValue('')])))`, strings.Join(lists, ", "))
}

// joinedReferences maps each pod spec to one list of all its references.
func joinedReferences() string {
	var lists []string
	for i := range len(workload.ContainerLists) + 1 { // the last list is that of the volumes
		lists = append(lists, fmt.Sprintf("l[%d]", i))
	}
	return references() + "\n  .map(l, " + strings.Join(lists, " + ") + ")"
}

// builtinSpec maps both objects to their pod specs. For the built-in kinds these are at spec,
// spec.template.spec, spec.jobTemplate.spec.template.spec or template.spec.
const builtinSpec = `[object, oldObject]
  .map(o, o == null ? {} : o)
  .map(o, [o.?spec.orValue(null), o.?template.orValue(null)])
  .map(o, [o[0] == null ? {} : o[0], o[1]])
  .map(o, [o[0], o[0].?template.orValue(o[0].?jobTemplate.?spec.?template.orValue(o[1]))])
  .map(o, o[1] == null ? o[0] : o[1].?spec.orValue(null))
  .map(s, s == null ? {} : s)`

// builtinAnnotations maps both objects to the annotations of their pod templates.
const builtinAnnotations = `[object, oldObject]
  .map(o, [o.?spec.orValue(null), o.?template.orValue(null)])
  .map(o, [o[0] == null ? {} : o[0], o[1]])
  .map(o, o[0].?template.orValue(o[0].?jobTemplate.?spec.?template.orValue(o[1])))
  .map(t, t == null ? null : t.?metadata.orValue(null))
  .map(m, m == null ? null : m.?annotations.orValue(null))
  .map(a, a == null ? {} : a)`

// Builtin returns the condition of a mode for the built-in kinds. It holds for all other kinds:
// they have conditions of their own.
func (r *Registration) Builtin(mode string) string {
	reasons := []string{changed(mode, builtinSpec+nest(references()), listsOfSpec)}
	if mode != "keep" && !r.PodsOnly {
		reasons = append(reasons, "request.operation == 'UPDATE' && "+
			"!(request.kind.kind in ['Pod', 'Job']) &&\n"+
			"["+nest(builtinAnnotations)+"\n].exists(a, "+r.markers()+".exists(m,\n"+
			"  a[0][?m].orValue('') != '' && a[0][?m].orValue('') != a[1][?m].orValue('')))")
	}
	expression := either(mode, reasons)
	if r.PodsOnly || len(r.Kinds) == 0 {
		return expression
	}
	return fmt.Sprintf("%s in %s ||\n%s", kindOfRequest, names(r.Kinds), expression)
}

// Custom returns the condition of a mode for kinds that have the same paths. It holds for all other
// kinds.
func (r *Registration) Custom(mode string, kinds []Kind) string {
	var reasons []string
	for _, path := range kinds[0].Paths {
		templates, depth := walk(strings.Split(path, "."))
		specs := templates(fmt.Sprintf(field, "spec") + nest(references()))
		reasons = append(reasons, changed(mode, both+specs, depth+listsOfSpec))
		if mode != "keep" {
			reasons = append(reasons, r.refreshed(templates, depth))
		}
	}
	for _, path := range kinds[0].Images {
		steps := strings.Split(path, ".")
		last := len(steps) - 1
		holders, depth := walk(steps[:last])
		images := holders(fmt.Sprintf(image, steps[last]))
		reasons = append(reasons, changed(mode, both+images, depth+1))
	}
	if mode != "keep" {
		// The CRD may prune the metadata of its templates, so the marker may also be in the object's
		// own metadata.
		reasons = append(reasons, "request.operation == 'UPDATE' &&\n"+
			"[[object, oldObject]"+
			".map(o, o.?metadata.?annotations[?'"+workload.AnnotationRefresh+"'].orValue(''))\n]"+
			".exists(a, a[0] != '' && a[0] != a[1])")
	}
	return fmt.Sprintf("!(%s in %s) ||\n%s", kindOfRequest, names(kinds), either(mode, reasons))
}

const kindOfRequest = "request.kind.kind + '.' + request.kind.group"

// names returns a CEL list of kinds, to be compared with kindOfRequest.
func names(kinds []Kind) string {
	var list []string
	for _, k := range kinds {
		list = append(list, "'"+k.Kind+"."+k.Group+"'")
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// markers returns the annotations that ask for a refresh, as a CEL list.
func (r *Registration) markers() string {
	names := []string{workload.AnnotationRefresh}
	if !r.IgnoreRestart {
		names = append(names, workload.AnnotationRestartedAt)
	}
	return "['" + strings.Join(append(names, r.RefreshAnnotations...), "', '") + "']"
}

// listsOfSpec is the number of lists around a reference within its pod spec: that of its
// containers, for example, and that of all such lists.
const listsOfSpec = 2

// changed returns an expression that holds if a request creates an object or changes its
// references, and one of the references has no digest. The mode keep has nothing to do on creation.
// The modes enforce and dry-run also want an object with a proposal: it may be about references
// that are gone.
//
// refs is an expression for the references of both objects, nested in depth lists.
func changed(mode, refs string, depth int) string {
	some := exists("refs[0]", depth, unpinned)
	update, when := "request.operation == 'UPDATE' &&\n", "refs[0] != refs[1]"
	if mode != "keep" {
		update, when = "", "(request.operation == 'CREATE' || refs[0] != refs[1])"
		some = "(" + proposed + " ||\n  " + some + ")"
	}
	return update + "[" + nest(refs) + "\n].exists(refs,\n  " + when + " &&\n  " + some + "\n)"
}

// refreshed returns an expression that holds if the markers of the templates have changed, and one
// of them is not empty.
func (r *Registration) refreshed(templates func(string) string, depth int) string {
	values := fmt.Sprintf(field, "metadata") + "\n" + fmt.Sprintf(field, "annotations") +
		"\n.map(a, " + r.markers() + ".map(m, a[?m].orValue('')))"
	some := exists("marks[0]", depth+1, func(value string) string { return value + " != ''" })
	return "request.operation == 'UPDATE' &&\n[" + nest(both+templates(values)) +
		"\n].exists(marks, marks[0] != marks[1] && " + some + ")"
}

// exists returns an expression that holds if the condition holds for any element of a list, which
// is nested depth levels deep.
func exists(list string, depth int, condition func(element string) string) string {
	if depth == 0 {
		return condition(list)
	}
	element := fmt.Sprintf("e%d", depth)
	return fmt.Sprintf("%s.exists(%s, %s)", list, element, exists(element, depth-1, condition))
}

// unpinned returns an expression that holds if r, a [name, reference], has no digest. In the
// grammar of references only a digest has an @. Matching a pattern instead would exceed the API
// server's cost limit for objects with thousands of containers.
func unpinned(r string) string { return fmt.Sprintf("%s[1] == null || !%s[1].contains('@')", r, r) }

// walk returns the way from both objects to the objects at the steps of a path. objects appends it,
// with what is to be done with each object. depth is the number of [*] in the path, and so of the
// levels of lists around the objects.
func walk(steps []string) (objects func(then string) string, depth int) {
	before, after := "", ""
	for _, step := range steps {
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

// nest indents all lines of an expression but the first.
func nest(text string) string { return indent(2, text) }

// either returns an expression that holds for one of the reasons to call the webhook of a mode. The
// mode dry-run has one more reason: a proposal that was dropped.
func either(mode string, reasons []string) string {
	if mode == "dry-run" {
		reasons = append(reasons, forgotten)
	}
	if len(reasons) == 1 {
		return reasons[0]
	}
	return "(" + strings.Join(reasons, ") || (") + ")"
}
