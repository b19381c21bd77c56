// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/poll"
)

// policyLabel replaces the label of the mode where the policy is tested without tagpin.
const policyLabel = "e2e.tagpin.dev/policy"

// installPolicy installs deploy/policies/policy.yaml until the test ends, for namespaces with a
// label. If change is not nil, it changes the policy that demands digests. installPolicy returns
// when that policy is in force.
func installPolicy(
	t *testing.T, label string, change func(*admissionregistrationv1.ValidatingAdmissionPolicy),
) {
	t.Helper()
	text, err := os.ReadFile("../deploy/policies/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	installPolicyText(t, text, label, change)
}

func installPolicyText(
	t *testing.T, text []byte, label string,
	change func(*admissionregistrationv1.ValidatingAdmissionPolicy),
) {
	t.Helper()
	c, _ := newClient(t)
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	ns := newLabelled(t, label, "enforce")
	// The API server learns of a policy, and of its deletion, with a delay. Later tests have images
	// without a digest, or another policy with this name. This runs after the policies are deleted.
	t.Cleanup(func() { awaitPolicy(t, ns, false) })
	for {
		document, err := documents.Read()
		if err != nil {
			break
		}
		var o client.Object
		if strings.Contains(string(document), "kind: ValidatingAdmissionPolicyBinding") {
			b := new(admissionregistrationv1.ValidatingAdmissionPolicyBinding)
			o = b
			if err := sigsyaml.UnmarshalStrict(document, b); err != nil {
				t.Fatal(err)
			}
			b.Spec.MatchResources.NamespaceSelector.MatchExpressions[0].Key = label
		} else {
			p := new(admissionregistrationv1.ValidatingAdmissionPolicy)
			o = p
			if err := sigsyaml.UnmarshalStrict(document, p); err != nil {
				t.Fatal(err)
			}
			if p.Name == "tagpin-digests" && change != nil {
				change(p)
			}
		}
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Delete(context.WithoutCancel(t.Context()), o); err != nil {
				t.Error(err)
			}
		})
	}
	awaitPolicy(t, ns, true)
}

// awaitPolicy waits until the policy that demands digests is in force in a namespace, or is not.
func awaitPolicy(t *testing.T, ns string, inForce bool) {
	t.Helper()
	spec := podSpec("never-pulled.example/a:1") // tagpin leaves it alone
	spec.Containers[0].ImagePullPolicy = corev1.PullNever
	probe := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Spec: spec}
	poll.Until(t, func(ctx context.Context) error {
		_, err := clustertest.DryRun(ctx, env.Client, ns, probe)
		switch {
		case !inForce, err != nil && !deniedByPolicy(err):
			return err
		case err == nil:
			return errors.New("the policy is not in force")
		}
		return nil
	})
}

// exempt returns a change of the policy that exempts images and, if shortNames is leave, short
// names.
func exempt(
	t *testing.T, images []string, shortNames string,
) func(*admissionregistrationv1.ValidatingAdmissionPolicy) {
	list := "[]"
	if len(images) > 0 {
		list = "['" + strings.Join(images, "', '") + "']"
	}
	return func(p *admissionregistrationv1.ValidatingAdmissionPolicy) {
		images, short := &p.Spec.Variables[0], &p.Spec.Variables[1]
		if images.Name != "exemptImages" || short.Name != "leaveShortNames" {
			t.Fatalf("the first variables are %s, %s, want exemptImages, leaveShortNames",
				images.Name, short.Name)
		}
		images.Expression, short.Expression = list, fmt.Sprint(shortNames == "leave")
	}
}

// deniedByPolicy reports whether the policy that demands digests has denied an object.
func deniedByPolicy(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "tagpin-digests") &&
		strings.Contains(err.Error(), "has no digest")
}
