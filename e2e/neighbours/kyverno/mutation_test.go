// SPDX-License-Identifier: Apache-2.0

package kyverno

import (
	"context"
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// TestMutateDigest has a policy that replaces tags by digests in pods and pod templates.
func TestMutateDigest(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "A ClusterPolicy has `verifyImages` with `mutateDigest: true`, which is the default, for Pods and workloads. A Deployment is applied. Its tag moves, its pods are deleted, and its manifest is applied again, twice. The tag moves once more, and the Deployment is restarted, and rolled back.",
		Result:   "Kyverno's registration sorts before tagpin's, and Kyverno wins: it writes the digest, and tagpin leaves that alone. The new pods run the digest of the old ones. But the first apply is a rollout of what the tag names then, and the restart keeps that digest. The second apply changes nothing: it ends there. The undo runs the first digest.",
		Settings: "`mutateDigest: false`, see below",
	})
	s := newSpace(t)
	reference, first := s.Push("1")
	s.policy(all, mutateDigest)
	s.mutates(reference, reference+"@"+first)
	s.Apply(deploymentManifest(reference))
	s.wantDeployed("deployed", reference+"@"+first, 1, 1)
	if pins := s.pins(); pins != "" || mutating > cluster.ConfigurationName {
		t.Errorf("tagpin has the pins %s, want none", pins)
	}
	_, second := s.Push("1")
	s.Kubectl("", "delete", "pods", "--all")
	s.wantDeployed("its pods are new", reference+"@"+first, 1, 1)
	s.Apply(deploymentManifest(reference))
	s.wantDeployed("applied again", reference+"@"+second, 2, 2)
	s.Apply(deploymentManifest(reference))
	s.wantDeployed("applied once more", reference+"@"+second, 2, 2)
	s.Push("1")
	s.Kubectl("", "rollout", "restart", "deployment/web")
	s.RolledOut("deployment/web")
	s.wantDeployed("restarted", reference+"@"+second, 3, 3)
	s.Kubectl("", "rollout", "undo", "deployment/web", "--to-revision=1")
	s.wantDeployed("undone", reference+"@"+first, 4, 3)
}

// TestVerifyDigest has policies that leave the digests of workloads to tagpin.
func TestVerifyDigest(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The same with `mutateDigest: false` and `verifyDigest: true`, and with `mutateDigest: true` for Pods only. The tag of a Deployment moves, its manifest is applied again, its pods are deleted, and it is restarted.",
		Result:   "tagpin pins the Deployment, and Kyverno finds a digest in each pod. The apply changes nothing. The restart brings the new digest.",
		Settings: "`mutateDigest: false`, or `pod-policies.kyverno.io/autogen-controllers: none`",
	})
	t.Run("mutateDigest false", func(t *testing.T) {
		s := newSpace(t)
		reference, _ := s.Push("1")
		s.policy(all, verifyDigest)
		s.denies(reference)
		s.sticky(reference)
	})
	t.Run("Pods only", func(t *testing.T) {
		s := newSpace(t)
		reference, digest := s.Push("1")
		s.policy("none", mutateDigest)
		s.mutates(reference, reference+"@"+digest)
		s.sticky(reference)
	})
}

// sticky moves the tag of a Deployment, which must keep its digest until it is restarted.
func (s *space) sticky(reference string) {
	s.t.Helper()
	_, first := s.Push("1")
	s.Apply(deploymentManifest(reference))
	s.wantDeployed("deployed", reference+"@"+first, 1, 1)
	if s.pins() == "" {
		s.t.Error("tagpin has pinned nothing")
	}
	_, second := s.Push("1")
	s.Apply(deploymentManifest(reference))
	s.Kubectl("", "delete", "pods", "--all")
	s.wantDeployed("applied again", reference+"@"+first, 1, 1)
	s.Kubectl("", "rollout", "restart", "deployment/web")
	s.RolledOut("deployment/web")
	s.wantDeployed("restarted", reference+"@"+second, 2, 2)
}

// imageValidatingPolicy requires digests of pods. The verbs take the name, which is also that of
// the namespace, and whether Kyverno replaces tags.
const imageValidatingPolicy = `
apiVersion: policies.kyverno.io/v1beta1
kind: ImageValidatingPolicy
metadata: {name: %[1]s}
spec:
  failurePolicy: Fail
  validationActions: [Deny]
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [pods]}
  matchImageReferences: [{glob: "**"}]
  validationConfigurations: {mutateDigest: %[2]t, verifyDigest: true, required: false}
  attestors: []
  validations: [{expression: "true"}]
`

// TestImageValidatingPolicy has the newer kind of policy.
func TestImageValidatingPolicy(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The same with an ImageValidatingPolicy for pods, which Kyverno also applies to workloads if nothing else is set (`autogen`): with `mutateDigest: true`, the default, and with `mutateDigest: false` and `verifyDigest: true`. The tag of a Deployment moves, its manifest is applied again, its pods are deleted, and it is restarted.",
		Result:   "With `mutateDigest: true`, Kyverno wins: the apply is a rollout of what the tag names then, and the restart keeps that digest. With `false`, tagpin pins the Deployment, the apply changes nothing, and the restart brings the new digest.",
		Settings: "`mutateDigest: false`",
	})
	t.Run("mutateDigest true", func(t *testing.T) {
		s := newSpace(t)
		reference, first := s.Push("1")
		s.create(fmt.Sprintf(imageValidatingPolicy, s.Name, true), "imagevalidatingpolicy/"+s.Name)
		s.mutates(reference, reference+"@"+first)
		s.Apply(deploymentManifest(reference))
		s.wantDeployed("deployed", reference+"@"+first, 1, 1)
		if pins := s.pins(); pins != "" {
			t.Errorf("tagpin has the pins %s, want none", pins)
		}
		_, second := s.Push("1")
		s.Apply(deploymentManifest(reference))
		s.wantDeployed("applied again", reference+"@"+second, 2, 2)
		s.Push("1")
		s.Kubectl("", "delete", "pods", "--all")
		s.Kubectl("", "rollout", "restart", "deployment/web")
		s.RolledOut("deployment/web")
		s.wantDeployed("restarted", reference+"@"+second, 3, 3)
	})
	t.Run("mutateDigest false", func(t *testing.T) {
		s := newSpace(t)
		reference, _ := s.Push("1")
		s.create(fmt.Sprintf(imageValidatingPolicy, s.Name, false), "imagevalidatingpolicy/"+s.Name)
		s.denies(reference)
		s.sticky(reference)
	})
}

// TestReinvocation has a policy that sets the whole image.
func TestReinvocation(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A ClusterPolicy sets the whole image of the container in Pods and workloads, with a tag. A Pod is created with another tag. A Deployment is applied, the tag of the policy moves, and the Deployment is applied again.",
		Result: "Kyverno's registration (`kyverno-resource-mutating-webhook-cfg`) has `reinvocationPolicy: IfNeeded`: Kyverno removes the digest once more, and tagpin is called once more. There it ends: both are pinned to what the tag of the policy names. The second apply changes nothing.",
	})
	s := newSpace(t)
	one, _ := s.Push("1")
	two, first := s.Push("2")
	s.policy(all, fmt.Sprintf(
		"mutate: {patchStrategicMerge: {spec: {containers: [{(name): app, image: %q}]}}}", two))
	s.mutates(one, two)
	s.reinvoked()
	s.Eventually("a second call of tagpin", func(ctx context.Context) error {
		before := clustertest.Metric(t, env.Tagpin, "tagpin_admission_reviews_total")
		pod, err := clustertest.DryRun(ctx, env.Client, s.Name, clustertest.Pod("a", one))
		if err != nil {
			return err
		}
		calls := clustertest.Metric(t, env.Tagpin, "tagpin_admission_reviews_total") - before
		image := pod.Spec.Containers[0].Image
		if want := two + "@" + first; image != want || calls != 2 {
			return fmt.Errorf("the image is %s after %v calls, want %s after 2", image, calls, want)
		}
		return nil
	})
	s.Apply(deploymentManifest(one))
	s.wantDeployed("deployed", two+"@"+first, 1, 1)
	s.Push("2")
	s.Apply(deploymentManifest(one))
	s.wantDeployed("applied again", two+"@"+first, 1, 1)
}

// reinvoked checks that the API server calls Kyverno again if tagpin changes an object.
func (s *space) reinvoked() {
	s.t.Helper()
	api := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	registration, err := api.Get(s.t.Context(), mutating, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	found := false
	for i := range registration.Webhooks {
		w := &registration.Webhooks[i]
		if !strings.HasPrefix(w.Name, "mutate.kyverno.svc") { // that of another kind of policies
			continue
		}
		found = true
		if *w.ReinvocationPolicy != admissionv1.IfNeededReinvocationPolicy {
			s.t.Errorf("%s has the policy %s, want IfNeeded", w.Name, *w.ReinvocationPolicy)
		}
	}
	if !found {
		s.t.Errorf("%s has no webhook of ClusterPolicies", mutating)
	}
}
