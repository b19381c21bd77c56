// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"fmt"
	"io"
	"strings"
)

// Policy demands a digest of every image without tagpin: the API server itself enforces it, or
// Gatekeeper does. It checks objects of the built-in kinds, and so the pods of all other kinds. It
// is for the namespaces of the mode enforce, because nothing pins images elsewhere.
type Policy struct {
	Namespaces
	// ExemptImages need no digest. They are patterns as in policy.Pattern.
	ExemptImages []string
	// SkipOwners are controllers whose objects need no digest if one of their users creates them.
	SkipOwners []SkipOwner
}

// SkipOwner is one of the config's skipOwners. A user is a name, or a prefix that ends in *.
type SkipOwner struct {
	Group, Kind string
	Users       []string
}

// Owner returns the group and the kind, as in the config.
func (s SkipOwner) Owner() string { return strings.TrimPrefix(s.Group+"/"+s.Kind, "/") }

// WriteYAML writes two ValidatingAdmissionPolicies and their bindings. One demands digests. The
// other warns if an edit changes a tag and not the digest after it.
func (p *Policy) WriteYAML(w io.Writer) error {
	return write(w, p, "policy.yaml.tmpl", "tags.yaml.tmpl")
}

// WriteGatekeeperYAML writes a ConstraintTemplate and its constraint.
func (p *Policy) WriteGatekeeperYAML(w io.Writer) error {
	return write(w, p, "gatekeeper.yaml.tmpl")
}

// ExemptList returns the exempt images as a CEL list.
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

// PolicyReferences returns an expression for the references of both objects.
func (p *Policy) PolicyReferences() string {
	return builtinSpec + joinedReferences()
}

// TemplatePins returns an expression for the annotation tagpin.dev/pins of the new pod template.
func (p *Policy) TemplatePins() string {
	return builtinAnnotations + "[0][?'tagpin.dev/pins'].orValue('')"
}

// Skipped returns an expression that holds for the objects of SkipOwners.
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
		owners = append(owners, fmt.Sprintf("  o.?kind.orValue('') == %q && %s &&\n  (%s)",
			s.Kind, group, strings.Join(users, " || ")))
	}
	return "request.operation == 'CREATE' &&\n" +
		"object.?metadata.?ownerReferences.orValue([])" +
		".exists(o, o.?controller.orValue(false) && (\n" +
		strings.Join(owners, " ||\n") + "))"
}
