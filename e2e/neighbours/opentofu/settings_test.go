// SPDX-License-Identifier: Apache-2.0

package opentofu

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// ignoring returns a configuration that ignores changes of fields.
func ignoring(text string, fields ...string) string {
	list := "ignore_changes = [" + strings.Join(fields, ", ") + "]"
	return strings.ReplaceAll(text, "ignore_changes = []", list)
}

// Fields of a pod template, as ignore_changes names them.
const (
	ignoredImage       = "spec[0].template[0].spec[0].container[0].image"
	ignoredAnnotations = "spec[0].template[0].metadata[0].annotations"
)

// TestIgnoreImage ignores what tagpin changes.
func TestIgnoreImage(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The tag of a `kubernetes_deployment` moves. `kubectl rollout restart` restarts it. Then the tag changes in the configuration, and then the number of replicas.",
		Result:   "No plan shows a difference of the image, so **the new tag is never deployed**. The number of replicas is changed, which also removes the restart's annotation: one more rollout, with the digest of the restart.",
		Settings: "`ignore_changes` has the image and the annotations of the template. Don't use it for the image",
	})
	t.Parallel()
	c, one, first := newDeployment(t, ignoring(deployment, ignoredImage, ignoredAnnotations))
	_, second := c.Push("1")
	c.wantPlan("moved", c.apply("image="+one), none)
	c.WantDeployment("moved", one+"@"+first, 1, 1)
	c.Kubectl("", "rollout", "restart", "deployment/web")
	c.RolledOut("deployment/web")
	c.wantPlan("restarted", c.apply("image="+one), none)
	c.WantDeployment("restarted", one+"@"+second, 2, 2)
	two, _ := c.Push("2")
	c.wantPlan("a new tag", c.apply("image="+two), none)
	c.WantDeployment("a new tag", one+"@"+second, 2, 2)
	c.wantPlan("scaled", c.apply("image="+two, "replicas=3"), "update: spec.0.replicas")
	c.WantDeployment("scaled", one+"@"+second, 3, 3)
	c.wantPods("scaled", one+"@"+second, 3)
}

// TestIgnoreAnnotations ignores only the annotations.
func TestIgnoreAnnotations(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The tag of a `kubernetes_deployment` moves. Then the tag changes in the configuration.",
		Result:   "The plans show the image alone. The first apply changes nothing. The second one deploys the new tag.",
		Settings: "`ignore_changes` has the annotations of the template",
	})
	t.Parallel()
	c, one, first := newDeployment(t, ignoring(deployment, ignoredAnnotations))
	c.Push("1")
	c.wantPlan("moved", c.apply("image="+one), "update: "+templateImage)
	c.WantDeployment("moved", one+"@"+first, 1, 1)
	two, second := c.Push("2")
	c.wantPlan("a new tag", c.apply("image="+two), "update: "+templateImage)
	c.WantDeployment("a new tag", two+"@"+second, 2, 2)
	c.wantPods("a new tag", two+"@"+second, 2)
}

// TestDigest writes digests, as deploy/docs/terraform.md says.
func TestDigest(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The image of a `kubernetes_deployment` has the digest that the program in [option 2](terraform.md) prints. It ran in a shell, since Go can't download the provider `external`. The tag moves, and the program runs again. Then the configuration gets the old digest back.",
		Result:   "Until the program runs again, plans show no difference. Then the plan shows the new digest, and the apply is one rollout. With the old digest, the first ReplicaSet runs again. For a tag that is missing, the program fails.",
		Settings: "the digest in the configuration",
	})
	t.Parallel()
	c := newConfiguration(t, deployment)
	tag, first := c.Push("1")
	one := c.resolve(tag)
	c.apply("image=" + one)
	c.WantDeployment("created", strings.TrimSuffix(tag, ":1")+"@"+first, 1, 1)
	c.Push("1")
	c.wantPlan("moved", c.apply("image="+one), none)
	two := c.resolve(tag)
	c.wantPlan("resolved again", c.apply("image="+two), "update: "+templateImage)
	c.WantDeployment("resolved again", two, 2, 2)
	c.wantPods("resolved again", two, 2)
	c.wantPlan("applied again", c.apply("image="+two), none)
	c.wantPlan("the old digest", c.apply("image="+one), "update: "+templateImage)
	c.WantDeployment("the old digest", one, 3, 2)
	c.wantPods("the old digest", one, 2)
	if out, err := c.external(tag + "-missing"); err == nil {
		t.Errorf("the program printed %q for a tag that is missing, want a failure", out)
	}
}

// resolve returns the image that the page's local value has for the tag 1.
func (c *configuration) resolve(tag string) string {
	c.t.Helper()
	out, err := c.external(tag)
	if err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	var result map[string]string
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSuffix(tag, ":1") + "@" + result["digest"]
}

// external runs the program of the page's data source for a tag.
func (c *configuration) external(tag string) (stdout string, err error) {
	c.t.Helper()
	const image = "registry.example.com/web:1.4"
	page, err := os.ReadFile("../../../deploy/docs/terraform.md")
	if err != nil {
		c.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "<<-EOT\n")
	script, _, found := strings.Cut(after, "EOT")
	if !found || !strings.Contains(script, "tagpin resolve "+image) {
		c.t.Fatalf("the page has no program that resolves %s", image)
	}
	roots := filepath.Join(c.dir, "ca.crt")
	if err := os.WriteFile(roots, env.CA.PEM, 0o600); err != nil {
		c.t.Fatal(err)
	}
	script = strings.ReplaceAll(script, image, tag)
	cmd := exec.CommandContext(c.t.Context(), "sh", "-c", script)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+roots, "HOME="+env.Scratch,
		"PATH="+env.Scratch+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := cmd.Output()
	return string(out), err
}

// shortMemory makes tagpin remember pods for a second. The function that it returns undoes that.
func shortMemory(t *testing.T) (undo func()) {
	t.Helper()
	short := func(config string) string {
		return strings.Replace(config, "cache: {", "cache: {ttl: 1s, ", 1)
	}
	if err := env.Reconfigure(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := env.Reconfigure(context.WithoutCancel(t.Context()), nil); err != nil {
			t.Error(err)
		}
	}
}

// TestPodsOnly pins pods only.
func TestPodsOnly(t *testing.T) { // not parallel, because it changes the registration
	env.Record(t, neighbours.Check{
		Done:     "The tag of a `kubernetes_deployment` moves ten times, and `tofu plan` runs each time. A pod is deleted. Then the Deployment is restarted, and gets another tag. It gets the old one again when tagpin's memory (`cache.ttl`) of its pods is over.",
		Result:   "Until the tag in the configuration changes, no plan shows a difference, also after the restart. New pods have the digest of the others until the restart, which runs what the tag names then. Another tag is one rollout. The old tag is another one, with what it names then.",
		Settings: "`pin: [pods]`",
	})
	defer env.PodsOnly(t)()
	c, one, first := newDeployment(t, deployment)
	c.WantDeployment("created", one, 1, 1)
	for range moves {
		c.Push("1")
		c.wantPlan("moved", c.plan("image="+one), none)
	}
	c.Kubectl("", "delete", strings.Fields(c.Kubectl("", "get", "pods", "-o", "name"))[0])
	c.RolledOut("deployment/web")
	c.wantPods("a new pod", one+"@"+first, 2)
	_, second := c.Push("1")
	c.Kubectl("", "rollout", "restart", "deployment/web")
	c.RolledOut("deployment/web")
	c.wantPlan("restarted", c.apply("image="+one), none)
	c.WantDeployment("restarted", one, 2, 2)
	c.wantPods("restarted", one+"@"+second, 2)
	two, third := c.Push("2")
	c.wantPlan("a new tag", c.apply("image="+two), "update: "+templateImage)
	c.WantDeployment("a new tag", two, 3, 3)
	c.wantPods("a new tag", two+"@"+third, 2)
	defer shortMemory(t)()
	_, fourth := c.Push("1")
	c.wantPlan("the old tag", c.apply("image="+one), "update: "+templateImage)
	c.wantPods("the old tag", one+"@"+fourth, 2)
}
