// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Namespaces says which are served, and in which mode. The zero value: those with the label tagpin.dev/mode.
type Namespaces struct {
	// Namespace is where tagpin is, which is never served. Default: tagpin-system.
	Namespace string
	// DefaultMode is that of namespaces without the label: enforce or dry-run. Default: none, they are not served.
	DefaultMode string
	// Excluded are never served, whatever their label, beside tagpin's own and those of Kubernetes.
	Excluded []string
}

// Validate names every mistake at once.
func (n *Namespaces) Validate() error {
	var errs []error
	if !slices.Contains([]string{"", "enforce", "dry-run"}, n.DefaultMode) {
		errs = append(errs, fmt.Errorf("default mode %q: want enforce or dry-run", n.DefaultMode))
	}
	for _, name := range n.Never() {
		if len(validation.IsDNS1123Label(name)) > 0 {
			errs = append(errs, fmt.Errorf("%q can't be a namespace's name", name))
		}
	}
	return errors.Join(errs...)
}

// own is where tagpin is.
func (n *Namespaces) own() string {
	if n.Namespace == "" {
		return "tagpin-system"
	}
	return n.Namespace
}

// Never are the namespaces that are not served.
func (n *Namespaces) Never() []string {
	never := []string{"kube-system", "kube-node-lease", n.own()}
	for _, name := range n.Excluded {
		if !slices.Contains(never, name) {
			never = append(never, name)
		}
	}
	return never
}

// In is what the label has to be for a mode, as YAML in a selector: of the default mode, none of another.
func (n *Namespaces) In(mode string) string {
	operator, values := "In", []string{mode}
	if mode == n.DefaultMode {
		operator = "NotIn"
		values = slices.DeleteFunc([]string{"enforce", "dry-run", "keep", "off"}, func(m string) bool { return m == mode })
	}
	return fmt.Sprintf("operator: %s, values: [%s]", operator, words(values))
}
