// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/poll"
)

// mutator is a MutatingAdmissionPolicy that changes the image of the sidecar in a namespace's pods.
// In the first round there is no sidecar yet, because these policies run before all webhooks.
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

// TestMutatingPolicy has a MutatingAdmissionPolicy that runs again after the first round of
// webhooks. The image that it sets is pinned if tagpin was called in the first round. tagpin is not
// called for a pod that was pinned by its author, nor later, and the validating policy denies that
// pod.
func TestMutatingPolicy(t *testing.T) {
	clustertest.Needs(t, env, cluster.MutatingAdmissionPolicy)
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
		api := env.Client.CoreV1().Pods(ns)
		pod, err := api.Create(ctx, barePod(image), metav1.CreateOptions{})
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
	wantImage(t, "image of the sidecar of a pod with a tag", got, sidecar, sidecarDigest)
	installPolicy(t, cluster.ModeLabel, nil)
	if got, err := stored(t.Context(), reference+"@"+digest); err == nil || !deniedByPolicy(err) {
		t.Errorf("with the validating policy: %s, %v, want the pod denied", got, err)
	}
}
