// SPDX-License-Identifier: Apache-2.0

package argorollouts

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// rollout is the manifest of a Rollout. The verbs take the image, the strategy and annotations.
const rollout = `
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web, annotations: {%[3]s}}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  strategy: %[2]s
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: app, image: "%[1]s"}
`

// canary pauses when half of the pods are new.
const canary = `{canary: {maxSurge: 50%, maxUnavailable: 0, steps: [{setWeight: 50}, {pause: {}}]}}`

// app is a namespace for the Rollout web.
type app struct {
	*neighbours.Space
	t        *testing.T
	strategy string
}

// newApp creates a namespace and pushes the tag 1. It deploys nothing.
func newApp(t *testing.T, strategy string) (a *app, reference, digest string) {
	t.Helper()
	a = &app{Space: env.NewSpace(t), t: t, strategy: strategy}
	reference, digest = a.Push("1")
	return a, reference, digest
}

// deploy applies the Rollout with an image, and waits for a phase.
func (a *app) deploy(image, phase string) {
	a.t.Helper()
	a.Apply(fmt.Sprintf(rollout, image, a.strategy, ""))
	a.wantPhase(phase)
}

// plugin runs Argo Rollouts' plugin of kubectl for the Rollout.
func (a *app) plugin(args ...string) {
	a.t.Helper()
	args = append(args, "--namespace="+a.Name, "--kubeconfig="+env.Kubeconfig)
	cmd := exec.CommandContext(a.t.Context(), filepath.Join(env.Dir, "kubectl-argo-rollouts"), args...)
	cmd.Env = append(os.Environ(), "HOME="+env.Scratch)
	if out, err := cmd.CombinedOutput(); err != nil {
		a.t.Fatalf("kubectl argo rollouts %v: %v\n%s", args, err, out)
	}
}

// state is a part of a Rollout.
type state struct {
	Metadata metav1.ObjectMeta
	Status   struct {
		Phase, ObservedGeneration, WorkloadObservedGeneration, Message string
		CurrentPodHash, StableRS                                       string
	}
}

func (a *app) state() (s state, err error) {
	err = json.Unmarshal([]byte(a.Kubectl("", "get", "rollout/web", "-o", "json")), &s)
	return s, err
}

// wantPhase waits until the controller has observed the Rollout's last change and reached a phase.
func (a *app) wantPhase(phase string) {
	a.t.Helper()
	a.Eventually("the phase "+phase, func(context.Context) error {
		s, err := a.state()
		if err != nil {
			return err
		}
		observed := s.Status.ObservedGeneration == strconv.FormatInt(s.Metadata.Generation, 10)
		if s.Status.Phase != phase || !observed {
			return fmt.Errorf("generation %d, status %+v", s.Metadata.Generation, s.Status)
		}
		return nil
	})
}

// wantPods waits until the pods that are not being deleted have exactly these images. The map has
// how many pods have each.
func (a *app) wantPods(when string, want map[string]int) {
	a.t.Helper()
	a.Eventually("the pods "+when, func(ctx context.Context) error {
		images, err := a.Images(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		got := map[string]int{}
		for _, image := range images {
			got[image]++
		}
		if !maps.Equal(got, want) {
			return fmt.Errorf("their images are %v, want %v", got, want)
		}
		return nil
	})
}

// wantReplicaSets compares the number of the Rollout's ReplicaSets.
func (a *app) wantReplicaSets(when string, want int) {
	a.t.Helper()
	list, err := env.Client.AppsV1().ReplicaSets(a.Name).List(a.t.Context(), metav1.ListOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	if got := len(list.Items); got != want {
		a.t.Errorf("%s: %d ReplicaSets, want %d", when, got, want)
	}
}
