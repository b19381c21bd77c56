// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

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
	return errors.Join(errs...)
}

func (n *Namespaces) namespace() string { return cmp.Or(n.Namespace, "tagpin-system") }

// NeverServed returns the namespaces that are not served, whatever their label is.
func (n *Namespaces) NeverServed() []string {
	never := []string{"kube-system", "kube-node-lease", n.namespace()}
	for _, name := range n.Excluded {
		if !slices.Contains(never, name) {
			never = append(never, name)
		}
	}
	return never
}

// ModeSelector returns the operator and the values of a label selector for a mode, as YAML. The
// default mode selects every label that is not another mode's, so that it covers namespaces without
// the label.
func (n *Namespaces) ModeSelector(mode string) string {
	operator, values := "In", []string{mode}
	if mode == n.DefaultMode {
		operator, values = "NotIn", []string{"enforce", "dry-run", "keep", "off"}
		values = slices.DeleteFunc(values, func(m string) bool { return m == mode })
	}
	return fmt.Sprintf("operator: %s, values: [%s]", operator, words(values))
}
