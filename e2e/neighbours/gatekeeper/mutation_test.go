// SPDX-License-Identifier: Apache-2.0

package gatekeeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// Mutators for a namespace, which is also part of their names. The second verb takes what is
// assigned, and the third one kinds.
const (
	podMutator = `
apiVersion: mutations.gatekeeper.sh/v1alpha1
kind: AssignImage
metadata: {name: pods-%[1]s}
spec:
  applyTo: [{groups: [""], versions: [v1], kinds: [Pod]}]
  match: {namespaces: [%[1]s]}
  location: "spec.containers[name:*].image"
  parameters: {%[2]s}
`
	templateMutator = `
apiVersion: mutations.gatekeeper.sh/v1alpha1
kind: AssignImage
metadata: {name: templates-%[1]s}
spec:
  applyTo: [{groups: [apps], versions: [v1], kinds: [%[3]s]}]
  match: {namespaces: [%[1]s]}
  location: "spec.template.spec.containers[name:*].image"
  parameters: {%[2]s}
`
	tagTwo = `assignTag: ":2"`
)

// imageMutator sets the image of Pods in a namespace, which is also its name.
const imageMutator = `
apiVersion: mutations.gatekeeper.sh/v1
kind: Assign
metadata: {name: %[1]s}
spec:
  applyTo: [{groups: [""], versions: [v1], kinds: [Pod]}]
  match: {namespaces: [%[1]s]}
  location: "spec.containers[name:app].image"
  parameters: {assign: {value: "%[2]s"}}
`

// mutatePods makes Gatekeeper change the images of Pods.
func mutatePods(t *testing.T, s *neighbours.Space, assign string) {
	t.Helper()
	s.Apply(fmt.Sprintf(podMutator, s.Name, assign))
	inForce(t, s, "assignimage/pods-"+s.Name)
}

// mutateTemplates makes Gatekeeper change the images in the pod templates of kinds.
func mutateTemplates(t *testing.T, s *neighbours.Space, assign, kinds string) {
	t.Helper()
	s.Apply(fmt.Sprintf(templateMutator, s.Name, assign, kinds))
	inForce(t, s, "assignimage/templates-"+s.Name)
}

// TestMutatedDeployment has a mutator that sets the tag of Deployments.
func TestMutatedDeployment(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "`AssignImage` of Gatekeeper sets the tag of Deployments, and pods need a digest. The tag moves, the manifest is applied again, and the pods are deleted. The Deployment is restarted.",
		Result:   "tagpin is called after Gatekeeper and pins the tag that Gatekeeper has set. The apply changes nothing. Only the restart brings the new digest.",
		Settings: "Let the mutator apply to workloads, and not to Pods or ReplicaSets.",
	})
	s := env.NewSpace(t)
	requireDigests(t, s)
	one, _ := s.Push("1")
	two, first := s.Push("2")
	mutateTemplates(t, s, tagTwo, "Deployment")
	manifest := fmt.Sprintf(deployment, "web", one)
	s.Apply(manifest)
	wantPods(t, s, "web", two+"@"+first)
	_, second := s.Push("2")
	s.Apply(manifest)
	s.Kubectl("", "delete", "pods", "--all")
	wantPods(t, s, "web", two+"@"+first)
	s.WantDeployment("applied again", two+"@"+first, 1, 1)
	s.Kubectl("", "rollout", "restart", "deployment/web")
	wantPods(t, s, "web", two+"@"+second)
	s.WantDeployment("restarted", two+"@"+second, 2, 2)
}

// TestMutatedPods has a mutator that sets the tag of Pods.
func TestMutatedPods(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "`AssignImage` sets the tag of Pods, and pods need a digest. The tag moves, a pod gets a label, and a pod is deleted. The Deployment is scaled to zero and back, when tagpin's memory (`cache.ttl`) of its pods is over.",
		Result:   "tagpin pins what Gatekeeper has set. The label changes no image, and a new pod takes the digest of the others. But the digest of the Deployment is not what runs, and after the scaling its pods run what the tag names then.",
		Settings: "Let mutators that set tags apply to workloads, as above.",
	})
	short := func(config string) string {
		return strings.Replace(config, "cache: {", "cache: {ttl: 1s, ", 1)
	}
	if err := env.Reconfigure(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := env.Reconfigure(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}()
	s := env.NewSpace(t)
	requireDigests(t, s)
	one, other := s.Push("1")
	two, first := s.Push("2")
	mutatePods(t, s, tagTwo)
	s.Apply(fmt.Sprintf(deployment, "web", one))
	wantPods(t, s, "web", two+"@"+first)
	s.WantDeployment("deployed", one+"@"+other, 1, 1)
	_, second := s.Push("2")
	name := strings.Fields(s.Kubectl("", "get", "pods", "-o", "name"))[0]
	s.Kubectl("", "label", name, "new=label")
	wantPods(t, s, "web", two+"@"+first)
	s.Kubectl("", "delete", name)
	wantPods(t, s, "web", two+"@"+first)
	s.Eventually("the image that the tag names", func(ctx context.Context) error {
		s.Kubectl("", "scale", "deployment/web", "--replicas=0")
		s.Kubectl("", "wait", "--for=delete", "pod", "-l", "app=web", "--timeout=1m")
		s.Kubectl("", "scale", "deployment/web", "--replicas=2")
		s.RolledOut("deployment/web")
		images, err := running(ctx, s, "web")
		want := two + "@" + second
		if err == nil && !slices.Equal(images, []string{want, want}) {
			err = fmt.Errorf("the images are %v, want %s", images, want)
		}
		return err
	})
	s.WantDeployment("scaled", one+"@"+other, s.Deployment().Generation, 1)
}

// TestMutatedRegistry has a mutator that sets the registry of Pods.
func TestMutatedRegistry(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "`AssignImage` sets another registry for Pods. A Deployment, and a Pod without a controller, are created with a tag of the first one.",
		Result: "The pods of the Deployment have its digest at the other registry, which must have the same image. The Pod without a controller is resolved at the other registry.",
	})
	s := env.NewSpace(t)
	requireDigests(t, s)
	reference, digest := s.Push("1")
	mirror, other := clustertest.Push(t, env.Spare, s.Name+"/app:1")
	mutatePods(t, s, fmt.Sprintf("assignDomain: %q", env.Spare.Host))
	s.Apply(fmt.Sprintf(deployment, "web", reference))
	wantPods(t, s, "web", mirror+"@"+digest)
	s.WantDeployment("deployed", reference+"@"+digest, 1, 1)
	if image, err := create(t, s, "a", reference); err != nil || image != mirror+"@"+other {
		t.Errorf("the pod without a controller has %s, %v, want %s@%s", image, err, mirror, other)
	}
}

// TestMutatedReplicaSets has a mutator that also sets the tag of ReplicaSets.
func TestMutatedReplicaSets(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "`AssignImage` sets the tag of Deployments and of ReplicaSets, without tagpin and with it.",
		Result:   "Without tagpin, there is one ReplicaSet. With tagpin, there are more and more: Gatekeeper removes the digest from each, so that none is that of the Deployment.",
		Settings: "No ReplicaSet in `applyTo`.",
	})
	for _, mode := range []string{"off", "enforce"} {
		s := newSpace(t, mode)
		one, _ := s.Push("1")
		two, _ := s.Push("2")
		mutateTemplates(t, s, tagTwo, "Deployment, ReplicaSet")
		s.Apply(fmt.Sprintf(deployment, "web", one))
		if mode == "off" {
			wantPods(t, s, "web", two)
			s.WantDeployment("without tagpin", two, 1, 1)
			continue
		}
		s.Eventually("several ReplicaSets", func(ctx context.Context) error {
			list, err := env.Client.AppsV1().ReplicaSets(s.Name).List(ctx, metav1.ListOptions{})
			if err == nil && len(list.Items) < 3 {
				err = fmt.Errorf("%d ReplicaSets", len(list.Items))
			}
			return err
		})
		s.Kubectl("", "delete", "deployment/web")
	}
}

// TestReinvocation has a registration of Gatekeeper that is called again after tagpin.
func TestReinvocation(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "Gatekeeper's registration has `reinvocationPolicy: IfNeeded`. `Assign` sets the whole image of Pods, with a tag.",
		Result: "Gatekeeper removes the digest once more, and tagpin is called once more. There it ends, and the pod is pinned.",
	})
	s := env.NewSpace(t)
	s.Kubectl("", "label", "namespace", s.Name, label+"="+again)
	one, _ := s.Push("1")
	two, digest := s.Push("2")
	s.Apply(fmt.Sprintf(imageMutator, s.Name, two))
	inForce(t, s, "assign/"+s.Name)
	s.Eventually("a second call of tagpin", func(ctx context.Context) error {
		before := clustertest.Metric(t, env.Tagpin, "tagpin_admission_reviews_total")
		pod, err := clustertest.DryRun(ctx, env.Client, s.Name, clustertest.Pod("a", one))
		if err != nil {
			return err
		}
		calls := clustertest.Metric(t, env.Tagpin, "tagpin_admission_reviews_total") - before
		image := pod.Spec.Containers[0].Image
		if want := two + "@" + digest; image != want || calls != 2 {
			return fmt.Errorf("the image is %s after %v calls, want %s after 2", image, calls, want)
		}
		return nil
	})
}

// TestLate has a registration of Gatekeeper that sorts after tagpin's.
func TestLate(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "Gatekeeper's registration has a name that sorts after `zz-tagpin`. `AssignImage` sets the tag of Pods, and pods need a digest. A Deployment is created.",
		Result:   "tagpin is not called for pods whose template has a digest, and Gatekeeper removes it. Then its constraint denies these pods.",
		Settings: "Keep the name `gatekeeper-mutating-webhook-configuration`.",
	})
	s := env.NewSpace(t)
	s.Kubectl("", "label", "namespace", s.Name, label+"="+late)
	requireDigests(t, s)
	one, digest := s.Push("1")
	two, _ := s.Push("2")
	mutatePods(t, s, tagTwo)
	s.Eventually("the registration", func(ctx context.Context) error {
		_, err := clustertest.DryRun(ctx, env.Client, s.Name, clustertest.Pod("a", one+"@"+digest))
		if !denied(err, s.Name) || !strings.Contains(err.Error(), two) {
			return errors.Join(errors.New("Gatekeeper does not remove the digest"), err)
		}
		return nil
	})
	s.Apply(fmt.Sprintf(deployment, "web", one))
	wantCreateFailure(t, s, "web")
	s.WantDeployment("deployed", one+"@"+digest, 1, 1)
}
