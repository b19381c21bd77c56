// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"fmt"
	"io"
	"strings"
	"text/template"
)

// Policy demands digests without tagpin: by the API server itself, or by Gatekeeper. It knows the built-in kinds; of others
// the pods.
type Policy struct {
	// ExemptImages need no digest, as policy.Pattern reads them.
	ExemptImages []string
}

// WriteYAML writes a ValidatingAdmissionPolicy and its bindings.
func (p *Policy) WriteYAML(w io.Writer) error { return p.write(w, "policy.yaml.tmpl") }

// WriteGatekeeperYAML writes a ConstraintTemplate and its constraint.
func (p *Policy) WriteGatekeeperYAML(w io.Writer) error { return p.write(w, "gatekeeper.yaml.tmpl") }

func (p *Policy) write(w io.Writer, name string) error {
	t, err := template.New(name).Funcs(template.FuncMap{"indent": indent}).ParseFS(files, name)
	if err != nil {
		return err
	}
	return t.Execute(w, p)
}

// Rules are the resources that are looked at.
func (p *Policy) Rules() []Rule { return new(Registration).Rules() }

// ExemptList is the exemptions as a CEL list.
func (p *Policy) ExemptList() string {
	if len(p.ExemptImages) == 0 {
		return "[]"
	}
	var b strings.Builder
	for _, e := range p.ExemptImages {
		fmt.Fprintf(&b, "\n  %q,", e)
	}
	return "[" + b.String() + "\n]"
}

// PolicyReferences is an expression for the references of both objects.
func (p *Policy) PolicyReferences() string {
	return builtinSpec + references + "\n  .map(l, l[0] + l[1] + l[2] + l[3])"
}
