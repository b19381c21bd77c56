// SPDX-License-Identifier: Apache-2.0

package istio

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// TestOutage deletes pods while tagpin is down.
func TestOutage(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "Two Deployments get Istio's proxy, one of them by the annotation `sidecar.istio.io/proxyImage`, which has a digest. tagpin is stopped, and their pods are deleted. tagpin starts again.",
		Result: "The pods with the annotation are replaced while tagpin is down. Those without it **wait for tagpin**, although their Deployment is pinned, because Istio adds an image without a digest.",
	})
	deploy := func(annotation string) (m *mesh, want map[string]string) {
		m, proxyImage, first := newMesh(t, "")
		image, digest := m.Push("1")
		pin := proxyImage + "@" + first
		m.Apply(neighbours.DeploymentManifest(image, strings.ReplaceAll(annotation, "PIN", pin)))
		want = injected(image+"@"+digest, pin)
		m.wantPods("created", want)
		return m, want
	}
	pinned, pinnedImages := deploy(`sidecar.istio.io/proxyImage: "PIN"`)
	tagged, taggedImages := deploy("")
	if err := env.Tagpin.Kill(); err != nil {
		t.Fatal(err)
	}
	pinned.Kubectl("", "delete", "pods", "--all")
	tagged.Kubectl("", "delete", "pods", "--all")
	pinned.wantPods("while tagpin is down", pinnedImages)
	tagged.wantRefused()
	if err := env.Tagpin.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	tagged.wantPods("after tagpin has started", taggedImages)
}

// wantRefused waits until a ReplicaSet reports that its pods are refused as tagpin is down, and
// until there are no pods.
func (m *mesh) wantRefused() {
	m.t.Helper()
	m.Eventually("a refusal of pods", func(ctx context.Context) error {
		list, err := env.Client.AppsV1().ReplicaSets(m.Name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			for _, c := range list.Items[i].Status.Conditions {
				down := strings.Contains(c.Message, "failed calling webhook") &&
					strings.Contains(c.Message, "tagpin")
				if c.Type == "ReplicaFailure" && down {
					return nil
				}
			}
		}
		return errors.New("no ReplicaSet reports it")
	})
	m.Eventually("no pods", func(ctx context.Context) error {
		images, err := m.Images(ctx, metav1.ListOptions{})
		if err == nil && len(images) > 0 {
			err = fmt.Errorf("there are pods with %v", images)
		}
		return err
	})
}
