// SPDX-License-Identifier: Apache-2.0

package registration

import (
	_ "embed" // the templates
	"fmt"
	"io"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/pkg/workload"
)

var (
	//go:embed policy.yaml.tmpl
	policyTemplate string
	//go:embed tags.yaml.tmpl
	tagsTemplate string
	//go:embed gatekeeper.yaml.tmpl
	gatekeeperTemplate string
)

// Policy demands a digest of every image without tagpin: the API server itself enforces it, or
// Gatekeeper does. It checks objects of the built-in kinds, and so the pods of all other kinds. It
// is for the namespaces of the mode enforce, because nothing pins images elsewhere.
type Policy struct {
	Namespaces
	// Objects are the labels of the workloads that get a warning, as in Registration. Pods are denied
	// whatever their labels.
	Objects []metav1.LabelSelectorRequirement
	// ExemptImages need no digest. They are patterns as in policy.Pattern.
	ExemptImages []string
	// LeaveShortNames needs no digest of references whose text names no host.
	LeaveShortNames bool
	// SkipOwners are controllers whose objects need no digest if one of their users creates them.
	SkipOwners []SkipOwner
}

// SkipOwner is one of the config's skipOwners. A user is a name, or a prefix that ends in *.
type SkipOwner struct {
	Owner workload.Kind
	Users []string
}

// Validate returns an error that names the mistakes.
func (p *Policy) Validate() error {
	if err := p.Namespaces.Validate(); err != nil {
		return err
	}
	if err := validateSelector(p.Objects); err != nil {
		return fmt.Errorf("selector of objects: %w", err)
	}
	return nil
}

// WriteYAML writes two ValidatingAdmissionPolicies and their bindings. One demands digests. The
// other warns if an edit changes a tag and not the digest after it.
func (p *Policy) WriteYAML(w io.Writer) error {
	return write(w, p, p.digests, p.staleDigests)
}

// WriteGatekeeperYAML writes a ConstraintTemplate and its constraint.
func (p *Policy) WriteGatekeeperYAML(w io.Writer) error {
	return write(w, p, p.gatekeeper)
}

// digests returns the policy that demands digests, and its bindings.
func (p *Policy) digests() string {
	return fill(policyTemplate, map[string]string{
		"{{rules}}":           rulesYAML(new(Registration).Rules(), "CREATE, UPDATE"),
		"{{conditions}}":      conditions,
		"{{skippedOwners}}":   p.skippedOwners(),
		"{{exemptImages}}":    p.exemptImages(),
		"{{leaveShortNames}}": strconv.FormatBool(p.LeaveShortNames),
		"{{placeholder}}":     workload.Placeholder,
		"{{references}}":      policyReferences(),
		"{{namespaces}}":      items(p.Expressions("enforce")),
		"{{objectSelector}}":  p.objectSelector(),
	})
}

// staleDigests returns the policy that warns of changed tags, and its binding.
func (p *Policy) staleDigests() string {
	return fill(tagsTemplate, map[string]string{
		"{{updateRules}}":  rulesYAML(new(Registration).Rules(), "UPDATE"),
		"{{references}}":   policyReferences(),
		"{{templatePins}}": templatePins(),
		"{{namespaces}}":   items(p.Expressions("enforce")),
	})
}

// gatekeeper returns the ConstraintTemplate and its constraint.
func (p *Policy) gatekeeper() string {
	exempt, skip := "exemptImages: []", ""
	if len(p.ExemptImages) > 0 {
		exempt = "exemptImages:\n" + items(quoted(p.ExemptImages))
	}
	if len(p.SkipOwners) > 0 {
		var owners []string
		for _, s := range p.SkipOwners {
			owner := strings.TrimPrefix(s.Owner.Group+"/"+s.Owner.Kind, "/")
			owners = append(owners, fmt.Sprintf("owner: %q\nusers: [%s]",
				owner, strings.Join(quoted(s.Users), ", ")))
		}
		skip = "skipOwners:\n" + items(owners)
	}
	return fill(gatekeeperTemplate, map[string]string{
		"{{containerLists}}":  strings.Join(quoted(workload.ContainerLists[:]), ", "),
		"{{placeholder}}":     workload.Placeholder,
		"{{namespaces}}":      items(p.Expressions("enforce")),
		"{{exemptImages}}":    exempt,
		"{{leaveShortNames}}": strconv.FormatBool(p.LeaveShortNames),
		"{{skipOwners}}":      skip,
	})
}

// exemptImages returns ExemptImages as a list of CEL.
func (p *Policy) exemptImages() string {
	if len(p.ExemptImages) == 0 {
		return "[]"
	}
	return "[\n  " + strings.Join(quoted(p.ExemptImages), ",\n  ") + ",\n]"
}

// objectSelector returns the selector of the workloads that get a warning, or "".
func (p *Policy) objectSelector() string {
	if len(p.Objects) == 0 {
		return ""
	}
	return `
# Workloads that tagpin does not serve get no warning. Their pods are checked all the same.
objectSelector:
  matchExpressions:
  `[1:] + indent(2, items(expressions(p.Objects)))
}

// skippedOwners returns the condition that leaves out what SkipOwners create, or "".
func (p *Policy) skippedOwners() string {
	if len(p.SkipOwners) == 0 {
		return ""
	}
	var owners []string
	for _, s := range p.SkipOwners {
		group := "!o.?apiVersion.orValue('').contains('/')"
		if s.Owner.Group != "" {
			group = fmt.Sprintf("o.?apiVersion.orValue('').startsWith(%q)", s.Owner.Group+"/")
		}
		var users []string
		for _, user := range s.Users {
			users = append(users, isUser(user))
		}
		owners = append(owners, fmt.Sprintf("  o.?kind.orValue('') == %q && %s &&\n  (%s)",
			s.Owner.Kind, group, strings.Join(users, " || ")))
	}
	return "# Objects that the config's skipOwners create.\n" + condition("not-of-a-skipped-owner",
		"!(request.operation == 'CREATE' &&\nobject.?metadata.?ownerReferences.orValue([])"+
			".exists(o, o.?controller.orValue(false) && (\n"+strings.Join(owners, " ||\n")+")))")
}

// policyReferences returns an expression for the references of both objects.
func policyReferences() string { return builtinSpec + joinedReferences() }

// templatePins returns an expression for the annotation tagpin.dev/pins of the new pod template.
func templatePins() string {
	return builtinAnnotations + "[0][?'" + workload.AnnotationPins + "'].orValue('')"
}

// isUser returns an expression that holds if one of SkipOwner.Users makes the request.
func isUser(user string) string {
	if prefix, glob := strings.CutSuffix(user, "*"); glob {
		return fmt.Sprintf("request.userInfo.username.startsWith(%q)", prefix)
	}
	return fmt.Sprintf("request.userInfo.username == %q", user)
}
