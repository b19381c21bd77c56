// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/poll"
)

// mutator is a MutatingAdmissionPolicy that gives the sidecar of a namespace's pods another image.
// In the first round there is no sidecar yet, as these policies run before all webhooks.
const mutator = `apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: e2e-mutator}
spec:
  failurePolicy: Fail
  reinvocationPolicy: IfNeeded
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE]}
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: |-
        size(object.spec.containers) < 2 ? [] :
          [JSONPatch{op: "replace", path: "/spec/containers/1/image", value: "%[2]s"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: e2e-mutator}
spec:
  policyName: e2e-mutator
  matchResources:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
`

// TestMutatingPolicy has a MutatingAdmissionPolicy whose turn comes again after the webhooks of the
// first round. What it writes is pinned if tagpin was called in that round. A pod that came pinned
// was spared, and stays spared: that is a limit, and the validating policy refuses the pod.
func TestMutatingPolicy(t *testing.T) {
	reference, digest := push(t, env.Open, repository(t)+":1")
	sidecar, sidecarDigest := push(t, env.Open, repository(t)+"-sidecar:1")
	ns := newNamespace(t, "enforce")
	installInjector(t, "a-injector", ns, sidecar+"@"+sidecarDigest)
	manifest := fmt.Sprintf(mutator, ns, sidecar)
	kubectl(t, manifest, "apply", "-f", "-")
	t.Cleanup(func() {
		ctx, stdin := context.WithoutCancel(t.Context()), strings.NewReader(manifest)
		if _, _, err := env.RunKubectl(ctx, stdin, "delete", "-f", "-"); err != nil {
			t.Error(err)
		}
	})
	stored := func(ctx context.Context, image string) (string, error) {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "p-"}, Spec: podSpec(image)}
		pod, err := env.Client.CoreV1().Pods(ns).Create(ctx, pod, metav1.CreateOptions{})
		return sidecarOf(pod), err
	}
	poll.Until(t, func(ctx context.Context) error {
		got, err := stored(ctx, reference+"@"+digest)
		if err == nil && got != sidecar {
			err = errors.New("the mutating policy is not in force: the sidecar is " + got)
		}
		return err
	})
	got, err := stored(t.Context(), reference)
	if err != nil {
		t.Fatal(err)
	}
	wantImage(t, "the sidecar of a pod with a tag", got, sidecar, sidecarDigest)
	installPolicy(t, cluster.ModeLabel, func(*admissionregistrationv1.ValidatingAdmissionPolicy) {})
	if got, err := stored(t.Context(), reference+"@"+digest); err == nil || !refusedByPolicy(err) {
		t.Errorf("with the validating policy: %s, %v, want the pod refused", got, err)
	}
}
