// SPDX-License-Identifier: Apache-2.0

package opentofu

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// moves is how often a tag moves in a test.
const moves = 10

// deployment is the configuration of a Deployment. The field ignore_changes is empty.
const deployment = `
variable "image" { type = string }
variable "replicas" { default = 2 }
variable "annotations" {
  type    = map(string)
  default = {}
}

resource "kubernetes_deployment" "web" {
  metadata {
    name      = "web"
    namespace = "%s"
  }
  spec {
    replicas = var.replicas
    selector { match_labels = { app = "web" } }
    template {
      metadata {
        labels      = { app = "web" }
        annotations = var.annotations
      }
      spec {
        termination_grace_period_seconds = 0
        container {
          name  = "app"
          image = var.image
        }
      }
    }
  }
  lifecycle {
    ignore_changes = []
  }
}
`

// The fields of a pod template that tagpin changes.
const (
	templateImage       = "spec.0.template.0.spec.0.container.0.image"
	templateAnnotations = "spec.0.template.0.metadata.0.annotations.tagpin.dev/pins"
)

// pinned is the plan if the configuration has not changed.
const pinned = "update: " + templateAnnotations + " " + templateImage

// newDeployment applies the configuration of a Deployment with a new image.
func newDeployment(t *testing.T, text string) (c *configuration, reference, digest string) {
	t.Helper()
	c = newConfiguration(t, text)
	reference, digest = c.Push("1")
	c.apply("image=" + reference)
	return c, reference, digest
}

// wantPods waits until the Deployment's pods have an image, and exist in a number.
func (c *configuration) wantPods(when, image string, count int) {
	c.t.Helper()
	c.Eventually("the pods "+when, func(ctx context.Context) error {
		got, err := c.Images(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if want := slices.Repeat([]string{image}, count); err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("they run %q, want %q", got, want)
		}
		return err
	})
}

// TestMovedTag moves the tag, and applies.
func TestMovedTag(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The tag of a `kubernetes_deployment` moves ten times. `tofu plan` and `tofu apply` run each time. Then the number of replicas changes.",
		Result: "Each plan shows two differences: the image without its digest, and the annotation `tagpin.dev/pins`, which is to be removed. Each apply writes the Deployment, and tagpin puts both back: the digest, the template and the ReplicaSet stay, and no registry is asked. New pods run the digest of the old ones.",
	})
	t.Parallel()
	c, reference, digest := newDeployment(t, deployment)
	c.WantDeployment("created", reference+"@"+digest, 1, 1)
	before := c.Lookups()
	for range moves {
		c.Push("1")
		c.wantPlan("moved", c.apply("image="+reference), pinned)
	}
	c.WantDeployment("applied again", reference+"@"+digest, 1, 1)
	c.apply("image="+reference, "replicas=3")
	c.WantDeployment("scaled", reference+"@"+digest, 2, 1)
	c.wantPods("scaled", reference+"@"+digest, 3)
	if got := c.Lookups() - before - moves; got != 0 { // each push causes one request
		t.Errorf("%d lookups, want none", got)
	}
}

// TestNewTag applies another tag, and the old one again.
func TestNewTag(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The tag of a `kubernetes_deployment` changes in the configuration, and changes back. Both happen again, and the first tag moves between them.",
		Result: "Each apply is one rollout. The old tag is resolved again: if it has not moved, the first ReplicaSet runs again, and otherwise what the tag names now.",
	})
	t.Parallel()
	c, one, first := newDeployment(t, deployment)
	two, second := c.Push("2")
	for i := range int64(2) {
		c.apply("image=" + two)
		c.WantDeployment("the new tag", two+"@"+second, 2*i+2, 2)
		c.wantPods("the new tag", two+"@"+second, 2)
		replicaSets := 2
		if i == 1 {
			_, first = c.Push("1")
			replicaSets = 3
		}
		c.apply("image=" + one)
		c.WantDeployment("the old tag", one+"@"+first, 2*i+3, replicaSets)
		c.wantPods("the old tag", one+"@"+first, 2)
	}
}

// TestRestart applies after a restart that OpenTofu doesn't know of.
func TestRestart(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The tag of a `kubernetes_deployment` moves, and `kubectl rollout restart` restarts the Deployment. The tag moves again, and `tofu apply` runs twice.",
		Result: "The restart runs what the tag names then. The first apply removes the restart's annotation, which is one more rollout, with the digest of the restart. The second one rolls nothing out.",
	})
	t.Parallel()
	c, reference, _ := newDeployment(t, deployment)
	_, second := c.Push("1")
	c.Kubectl("", "rollout", "restart", "deployment/web")
	c.RolledOut("deployment/web")
	c.WantDeployment("restarted", reference+"@"+second, 2, 2)
	c.Push("1")
	for range 2 {
		c.apply("image=" + reference)
		c.WantDeployment("applied", reference+"@"+second, 3, 3)
		c.wantPods("applied", reference+"@"+second, 2)
	}
}

// TestRefresh refreshes the image by an annotation.
func TestRefresh(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The template of a `kubernetes_deployment` has the annotation `tagpin.dev/refresh`. The tag moves, and the annotation's value changes. The tag moves again, and `tofu apply` runs twice.",
		Result: "The new value is one rollout, with what the tag names then. Later applies roll nothing out.",
	})
	t.Parallel()
	c, reference, first := newDeployment(t, deployment)
	const value = `annotations={"tagpin.dev/refresh"="%s"}`
	c.apply("image="+reference, fmt.Sprintf(value, "c1"))
	c.WantDeployment("the first value", reference+"@"+first, 2, 2)
	_, second := c.Push("1")
	c.apply("image="+reference, fmt.Sprintf(value, "c2"))
	c.WantDeployment("refreshed", reference+"@"+second, 3, 3)
	c.Push("1")
	for range 2 {
		c.apply("image="+reference, fmt.Sprintf(value, "c2"))
		c.WantDeployment("applied again", reference+"@"+second, 3, 3)
		c.wantPods("applied again", reference+"@"+second, 2)
	}
}

// TestMissing applies a tag that does not exist yet.
func TestMissing(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The configuration of a `kubernetes_deployment` names a tag that is not in the registry. The tag is pushed later.",
		Result: "The plan does not notice it. The apply fails with tagpin's message, and the old pods go on. The next apply deploys the new tag.",
	})
	t.Parallel()
	c, one, first := newDeployment(t, deployment)
	two := strings.TrimSuffix(one, "1") + "2"
	c.plan("image=" + two)
	_, stderr, err := c.try("apply", "-input=false", "-no-color", "plan")
	// OpenTofu wraps the lines of messages.
	said := strings.Join(strings.FieldsFunc(stderr, func(r rune) bool {
		return strings.ContainsRune(" \n│╷╵", r)
	}), " ")
	denied := strings.Contains(said, "denied the request") && strings.Contains(said, "can't pin "+two)
	if err == nil || !denied {
		t.Errorf("tofu apply = %v\n%s\nwant tagpin's denial of %s", err, stderr, two)
	}
	c.WantDeployment("denied", one+"@"+first, 1, 1)
	c.wantPods("denied", one+"@"+first, 2)
	_, second := c.Push("2")
	c.apply("image=" + two)
	c.WantDeployment("pushed", two+"@"+second, 2, 2)
	c.wantPods("pushed", two+"@"+second, 2)
}

// TestImageDrift changes the image behind OpenTofu's back.
func TestImageDrift(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "Somebody sets another tag with kubectl. The tag of a `kubernetes_deployment` moves.",
		Result: "The apply puts back the tag of the configuration, and tagpin resolves it again: the pods run what it names now, because the edit has replaced the old pin.",
	})
	t.Parallel()
	c, one, _ := newDeployment(t, deployment)
	two, second := c.Push("2")
	c.Kubectl("", "set", "image", "deployment/web", "app="+two)
	c.WantDeployment("changed", two+"@"+second, 2, 2)
	_, third := c.Push("1")
	c.wantPlan("changed", c.apply("image="+one), pinned)
	c.WantDeployment("put back", one+"@"+third, 3, 3)
	c.wantPods("put back", one+"@"+third, 2)
}

// TestDestroy destroys the Deployment, and creates it again.
func TestDestroy(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The tag of a `kubernetes_deployment` moves. `tofu destroy` runs, and then `tofu apply`.",
		Result: "The Deployment and its pods are deleted. The new Deployment runs what the tag names then.",
	})
	t.Parallel()
	c, reference, _ := newDeployment(t, deployment)
	_, second := c.Push("1")
	c.run(append([]string{"destroy", "-auto-approve"}, flags([]string{"image=" + reference})...)...)
	c.Eventually("the pods to be deleted", func(ctx context.Context) error {
		list, err := env.Client.CoreV1().Pods(c.Name).List(ctx, metav1.ListOptions{})
		if err == nil && len(list.Items) > 0 {
			err = fmt.Errorf("%d pods are left", len(list.Items))
		}
		return err
	})
	c.apply("image=" + reference)
	c.WantDeployment("created again", reference+"@"+second, 1, 1)
	c.wantPods("created again", reference+"@"+second, 2)
}
