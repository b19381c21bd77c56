// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"fmt"
	"io"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/tagpin/tagpin/pkg/workload"
)

// Policy demands digests without tagpin: by the API server itself, or by Gatekeeper. It knows the built-in kinds; of others
// the pods. It looks at the namespaces of the mode enforce: what tagpin never pins can't be refused.
type Policy struct {
	Namespaces
	// ExemptImages need no digest, as policy.Pattern reads them.
	ExemptImages []string
	// SkipOwners are controllers whose objects need none, when one of their users creates them.
	SkipOwners []SkipOwner
}

// SkipOwner is one of a config's skipOwners: a user is exact, or a prefix with * at its end.
type SkipOwner struct {
	Group, Kind string
	Users       []string
}

// Owner is the group and the kind, as in a config.
func (s SkipOwner) Owner() string { return strings.TrimPrefix(s.Group+"/"+s.Kind, "/") }

// WriteYAML writes two ValidatingAdmissionPolicies and their bindings: one demands digests, and one
// warns of a digest that stayed when the tag beside it was changed.
func (p *Policy) WriteYAML(w io.Writer) error {
	if err := p.write(w, "policy.yaml.tmpl"); err != nil {
		return err
	}
	return p.write(w, "tags.yaml.tmpl")
}

// WriteGatekeeperYAML writes a ConstraintTemplate and its constraint.
func (p *Policy) WriteGatekeeperYAML(w io.Writer) error { return p.write(w, "gatekeeper.yaml.tmpl") }

func (p *Policy) write(w io.Writer, name string) error {
	if err := p.Validate(); err != nil {
		return err
	}
	return write(w, name, p)
}

// Rules are the resources that are looked at.
func (p *Policy) Rules() []admissionregistrationv1.RuleWithOperations {
	return new(Registration).Rules()
}

// Placeholder is an exemption that is for pod templates alone.
func (p *Policy) Placeholder() string { return workload.Placeholder }

// Conditions are the match conditions: what the webhooks are not called for is not looked at.
func (p *Policy) Conditions() []Condition { return shared() }

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

// TemplatePins is an expression for the annotation tagpin.dev/pins of the new pod template.
func (p *Policy) TemplatePins() string {
	return builtinAnnotations + "[0][?'tagpin.dev/pins'].orValue('')"
}

// Skipped is an expression that holds for the objects of SkipOwners.
func (p *Policy) Skipped() string {
	var owners []string
	for _, s := range p.SkipOwners {
		group := fmt.Sprintf("o.?apiVersion.orValue('').startsWith(%q)", s.Group+"/")
		if s.Group == "" {
			group = "!o.?apiVersion.orValue('').contains('/')"
		}
		var users []string
		for _, u := range s.Users {
			user := fmt.Sprintf("request.userInfo.username == %q", u)
			if prefix, glob := strings.CutSuffix(u, "*"); glob {
				user = fmt.Sprintf("request.userInfo.username.startsWith(%q)", prefix)
			}
			users = append(users, user)
		}
		owners = append(owners, fmt.Sprintf("  o.?kind.orValue('') == %q && %s &&\n  (%s)", s.Kind, group, strings.Join(users, " || ")))
	}
	return "request.operation == 'CREATE' &&\nobject.?metadata.?ownerReferences.orValue([]).exists(o, o.?controller.orValue(false) && (\n" +
		strings.Join(owners, " ||\n") + "))"
}
