// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Namespaces says which namespaces tagpin serves, and in which mode. The zero value serves those
// with the label tagpin.dev/mode.
type Namespaces struct {
	// Namespace is tagpin's own, which is never served. Default: tagpin-system.
	Namespace string
	// DefaultMode is the mode of namespaces without the label: enforce or dry-run. Default: none,
	// so that they are not served.
	DefaultMode string
	// Excluded are namespaces that are never served, whatever their label is. tagpin's own and
	// those of Kubernetes are never served either.
	Excluded []string
	// Selector must hold for the labels of a namespace in any mode. Default: it holds for all.
	Selector []metav1.LabelSelectorRequirement
	// KeepOnly serves each of these namespaces in the mode keep.
	KeepOnly bool
}

// Validate returns an error that names every mistake.
func (n *Namespaces) Validate() error {
	var errs []error
	if !slices.Contains([]string{"", "enforce", "dry-run"}, n.DefaultMode) {
		errs = append(errs, fmt.Errorf("default mode %q: want enforce or dry-run", n.DefaultMode))
	}
	for _, name := range n.NeverServed() {
		if len(validation.IsDNS1123Label(name)) > 0 {
			errs = append(errs, fmt.Errorf("%q is not a valid name of a namespace", name))
		}
	}
	if err := validateSelector(n.Selector); err != nil {
		errs = append(errs, fmt.Errorf("selector of namespaces: %w", err))
	}
	return errors.Join(errs...)
}

func (n *Namespaces) namespace() string { return cmp.Or(n.Namespace, "tagpin-system") }

// NeverServed returns the namespaces that are not served, whatever their label is.
func (n *Namespaces) NeverServed() []string {
	never := []string{"kube-system", "kube-node-lease"}
	for _, name := range append([]string{n.namespace()}, n.Excluded...) {
		if !slices.Contains(never, name) {
			never = append(never, name)
		}
	}
	return never
}

// Expressions returns the expressions that select the namespaces of a mode, each as YAML.
func (n *Namespaces) Expressions(mode string) []string {
	list := append(n.modeExpressions(mode), metav1.LabelSelectorRequirement{
		Key:      "kubernetes.io/metadata.name",
		Operator: metav1.LabelSelectorOpNotIn,
		Values:   n.NeverServed(),
	})
	return expressions(append(list, n.Selector...))
}

// modeExpressions returns the expressions about the label of the mode. The default mode selects
// every label that is not another mode's, so that it covers namespaces without the label.
func (n *Namespaces) modeExpressions(mode string) []metav1.LabelSelectorRequirement {
	label := func(
		operator metav1.LabelSelectorOperator, values ...string,
	) metav1.LabelSelectorRequirement {
		return metav1.LabelSelectorRequirement{
			Key: "tagpin.dev/mode", Operator: operator, Values: values,
		}
	}
	const in, notIn = metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn
	switch {
	case n.KeepOnly && mode != "keep":
		never := label(metav1.LabelSelectorOpDoesNotExist) // contradicts the first expression
		return []metav1.LabelSelectorRequirement{label(in, mode), never}
	case n.KeepOnly && n.DefaultMode == "":
		return []metav1.LabelSelectorRequirement{label(in, modes()...)}
	case n.KeepOnly:
		return []metav1.LabelSelectorRequirement{label(notIn, "off")}
	case mode == n.DefaultMode:
		others := slices.DeleteFunc(modes(), func(m string) bool { return m == mode })
		return []metav1.LabelSelectorRequirement{label(notIn, append(others, "off")...)}
	}
	return []metav1.LabelSelectorRequirement{label(in, mode)}
}
