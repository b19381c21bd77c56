// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/pkg/workload"
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
	return write(w, p, "policy.yaml.tmpl", "tags.yaml.tmpl")
}

// WriteGatekeeperYAML writes a ConstraintTemplate and its constraint.
func (p *Policy) WriteGatekeeperYAML(w io.Writer) error {
	return write(w, p, "gatekeeper.yaml.tmpl")
}

// policyReferences returns an expression for the references of both objects.
func policyReferences() string { return builtinSpec + joinedReferences() }

// templatePins returns an expression for the annotation tagpin.dev/pins of the new pod template.
func templatePins() string { return builtinAnnotations + "[0][?'tagpin.dev/pins'].orValue('')" }

// isUser returns an expression that holds if one of SkipOwner.Users makes the request.
func isUser(user string) string {
	if prefix, glob := strings.CutSuffix(user, "*"); glob {
		return fmt.Sprintf("request.userInfo.username.startsWith(%q)", prefix)
	}
	return fmt.Sprintf("request.userInfo.username == %q", user)
}
