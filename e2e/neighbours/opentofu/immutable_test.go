// SPDX-License-Identifier: Apache-2.0

package opentofu

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// pod is the configuration of a Pod.
const pod = `
variable "image" { type = string }

resource "kubernetes_pod" "web" {
  metadata {
    name      = "web"
    namespace = "%s"
  }
  spec {
    termination_grace_period_seconds = 0
    container {
      name  = "app"
      image = var.image
    }
  }
  lifecycle {
    ignore_changes = []
  }
}
`

// job is the configuration of a Job. Without ttl_seconds_after_finished, the provider sets it to 0.
const job = `
variable "image" { type = string }

resource "kubernetes_job" "web" {
  metadata {
    name      = "web"
    namespace = "%s"
  }
  spec {
    ttl_seconds_after_finished = 3600
    template {
      metadata {}
      spec {
        termination_grace_period_seconds = 0
        container {
          name  = "app"
          image = var.image
        }
      }
    }
  }
  wait_for_completion = false
  lifecycle {
    ignore_changes = []
  }
}
`

// withInit returns a configuration with an init container of the same image.
func withInit(text string) string {
	const container = "container {\n"
	before, after, _ := strings.Cut(text, container)
	return before + "init_" + container + "name = \"init\"\nimage = var.image\n}\n" + container + after
}

// identity is what tells whether an object was created anew, and its image.
type identity struct{ uid, image string }

// get returns the identity of a Pod or a Job.
func (c *configuration) get(name string) identity {
	c.t.Helper()
	var o struct {
		Metadata struct{ UID string }
		Spec     struct {
			Containers []corev1.Container
			Template   corev1.PodTemplateSpec
		}
	}
	if err := json.Unmarshal([]byte(c.Kubectl("", "get", name, "-o", "json")), &o); err != nil {
		c.t.Fatal(err)
	}
	containers := slices.Concat(o.Spec.Containers, o.Spec.Template.Spec.Containers)
	return identity{o.Metadata.UID, containers[0].Image}
}

// wantSame compares the object with what it was before.
func (c *configuration) wantSame(when, name string, before identity) {
	c.t.Helper()
	if got := c.get(name); got != before {
		c.t.Errorf("%s: it is %v, want %v as before", when, got, before)
	}
}

// wantNew compares the image of an object, which must not be the one that it was before.
func (c *configuration) wantNew(when, name, image string, before identity) (now identity) {
	c.t.Helper()
	now = c.get(name)
	if now.uid == before.uid || now.image != image {
		c.t.Errorf("%s: it is %v and was %v, want another one with the image %s", when, now, before, image)
	}
	return now
}

// TestPod has a Pod.
func TestPod(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The tag of a `kubernetes_pod` moves, and `tofu apply` runs twice. Then the tag changes in the configuration.",
		Result: "This version of the provider plans an update of the image and of the annotation `tagpin.dev/pins`. The first two applies change nothing. The new tag replaces the image of the running pod.",
	})
	t.Parallel()
	c := newConfiguration(t, pod)
	one, first := c.Push("1")
	c.apply("image=" + one)
	created := c.get("pod/web")
	if want := one + "@" + first; created.image != want {
		t.Errorf("the image is %s, want %s", created.image, want)
	}
	const want = "update: metadata.0.annotations.tagpin.dev/pins spec.0.container.0.image"
	c.Push("1")
	for range 2 {
		c.wantPlan("moved", c.apply("image="+one), want)
		c.wantSame("moved", "pod/web", created)
	}
	two, second := c.Push("2")
	c.wantPlan("a new tag", c.apply("image="+two), want)
	c.wantSame("a new tag", "pod/web", identity{created.uid, two + "@" + second})
}

// TestInitContainer has Pods and Jobs with an init container.
func TestInitContainer(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The tag of a `kubernetes_pod` or a `kubernetes_job` with an init container moves, and `tofu apply` runs twice.",
		Result: "**Each plan replaces the object**, because the image of its init container differs. Each apply deletes it and creates it again, with what the tag names then.",
	})
	t.Parallel()
	for _, kind := range []string{"pod", "job"} {
		c := newConfiguration(t, withInit(map[string]string{"pod": pod, "job": job}[kind]))
		one, _ := c.Push("1")
		c.apply("image=" + one)
		before := c.get(kind + "/web")
		for range 2 {
			_, digest := c.Push("1")
			want := "delete, create: " + initImage[kind]
			c.wantPlan("moved", c.apply("image="+one), want)
			before = c.wantNew("moved", kind+"/web", one+"@"+digest, before)
		}
	}
}

// initImage has the fields of the init containers' images.
var initImage = map[string]string{
	"pod": "spec.0.init_container.0.image",
	"job": "spec.0.template.0.spec.0.init_container.0.image",
}

// ignored has what ignore_changes needs for Pods and Jobs with an init container.
var ignored = map[string][]string{
	"pod": {
		"metadata[0].annotations", "spec[0].container[0].image", "spec[0].init_container[0].image",
	},
	"job": {
		ignoredAnnotations, ignoredImage, "spec[0].template[0].spec[0].init_container[0].image",
	},
}

// triggered replaces the object if the image in the configuration changes.
func triggered(text string) string {
	const trigger = "replace_triggered_by = [terraform_data.image]\n"
	return strings.ReplaceAll(text, "lifecycle {", "lifecycle {\n"+trigger) +
		"resource \"terraform_data\" \"image\" { input = var.image }\n"
}

// TestReplaceTriggered ignores what tagpin changes, and replaces the object for another tag.
func TestReplaceTriggered(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The tag of a `kubernetes_pod` or a `kubernetes_job` with an init container moves, and `tofu apply` runs. Then the tag changes in the configuration.",
		Result:   "While the tag moves, there is no difference. With the new tag, the object is deleted and created again, and runs that tag.",
		Settings: "`ignore_changes` has the images and the annotations, and `replace_triggered_by` has a `terraform_data` whose `input` is the image",
	})
	t.Parallel()
	for kind, text := range map[string]string{"pod": pod, "job": job} {
		c := newConfiguration(t, triggered(ignoring(withInit(text), ignored[kind]...)))
		one, _ := c.Push("1")
		c.apply("image=" + one)
		created := c.get(kind + "/web")
		c.Push("1")
		c.wantPlan("moved", c.apply("image="+one), none)
		c.wantSame("moved", kind+"/web", created)
		two, second := c.Push("2")
		c.wantPlan("a new tag", c.apply("image="+two), "delete, create:")
		c.wantNew("a new tag", kind+"/web", two+"@"+second, created)
	}
}

// TestImmutableDigest has Pods and Jobs with digests.
func TestImmutableDigest(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The images of a `kubernetes_pod` and a `kubernetes_job` with init containers have a digest. `tofu apply` runs again.",
		Result:   "There is no difference.",
		Settings: "the digest in the configuration",
	})
	t.Parallel()
	for kind, text := range map[string]string{"pod": pod, "job": job} {
		c := newConfiguration(t, withInit(text))
		tag, _ := c.Push("1")
		image := c.resolve(tag)
		c.apply("image=" + image)
		created := c.get(kind + "/web")
		c.Push("1")
		c.wantPlan("applied again", c.apply("image="+image), none)
		c.wantSame("applied again", kind+"/web", created)
	}
}

// TestJobPodsOnly pins pods only.
func TestJobPodsOnly(t *testing.T) { // not parallel, because it changes the registration
	env.Record(t, neighbours.Check{
		Done:     "The tag of a `kubernetes_job` with an init container moves, and `tofu apply` runs.",
		Result:   "There is no difference.",
		Settings: "`pin: [pods]`",
	})
	defer env.PodsOnly(t)()
	c := newConfiguration(t, withInit(job))
	one, _ := c.Push("1")
	c.apply("image=" + one)
	created := c.get("job/web")
	c.Push("1")
	c.wantPlan("moved", c.apply("image="+one), none)
	c.wantSame("moved", "job/web", created)
}
