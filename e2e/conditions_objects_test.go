// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func (c *conditions) testOwners(t *testing.T) {
	for _, tt := range []struct {
		kind, apiVersion, owner string
		controller              bool
		want                    int
	}{
		{"ReplicaSet", "apps/v1", "Deployment", true, 0},
		{"ReplicaSet", "apps/v1", "Deployment", false, 1},
		{"Deployment", "example.com/v1", "App", true, 0},
		{"StatefulSet", "example.com/v1", "App", true, 0},
		{"Job", "batch/v1", "CronJob", true, 1},
		{"Job", "example.com/v1", "CronJob", true, 0},
		{"Job", "example.com/v1", "Workflow", true, 0},
		{"Pod", "apps/v1", "ReplicaSet", true, 1},
		{"Pod", "example.com/v1", "Forged", true, 1},
		{"CronJob", "batch/v1", "CronJob", true, 0},
	} {
		o := kinds()[tt.kind](podSpec("a:1"))
		owners := controlledBy(tt.apiVersion, tt.owner)
		owners[0].Controller = &tt.controller
		o.SetOwnerReferences(owners)
		if got, _ := c.created(t, "enforce", o); got != tt.want {
			t.Errorf("%s of %s %s, controller %t: %d calls, want %d",
				tt.kind, tt.apiVersion, tt.owner, tt.controller, got, tt.want)
		}
	}
}

// testMirror has pods that claim to be the mirror of a static pod. The claim counts only if a node
// creates them.
func (c *conditions) testMirror(t *testing.T) {
	mirror := func() client.Object {
		o := kinds()["Pod"](podSpec("a:1"))
		o.SetAnnotations(map[string]string{corev1.MirrorPodAnnotationKey: "1"})
		specOf(t, o).NodeName = "n"
		return o
	}
	forged := mirror()
	if got, _ := c.created(t, "enforce", forged); got != 1 {
		t.Errorf("a mirror pod of an administrator: %d calls, want 1", got)
	}
	image := func(o client.Object) { specOf(t, o).Containers[0].Image = "a:2" }
	if got := c.updated(t, "enforce", forged, image); got != 1 {
		t.Errorf("the same with another image: %d calls, want 1", got)
	}
	ns := newLabelled(t, countedLabel, "enforce")
	o := mirror()
	o.SetNamespace(ns)
	node := clientAs(t, "system:node:n", "system:nodes", "system:masters")
	if err := node.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got := c.take("enforce", ns); got != 0 {
		t.Errorf("a mirror pod of a node: %d calls, want 0", got)
	}
}

// testForgedMetadata updates objects with metadata that the API server ignores in updates.
func (c *conditions) testForgedMetadata(t *testing.T) {
	now := metav1.Now()
	for _, kind := range []string{"Pod", "Deployment"} {
		o := kinds()[kind](podSpec("a:1"))
		c.created(t, "enforce", o)
		got := c.updated(t, "enforce", o, func(o client.Object) {
			o.SetDeletionTimestamp(&now)
			specOf(t, o).Containers[0].Image = "a:2"
		})
		if got != 1 {
			t.Errorf("%s that claims to be under deletion: %d calls, want 1", kind, got)
		}
	}
}

func (c *conditions) testDeleted(t *testing.T) {
	for _, kind := range []string{"Pod", "Deployment"} {
		o := kinds()[kind](podSpec("a:1"))
		o.SetFinalizers([]string{"e2e.tagpin.dev/held"})
		c.created(t, "enforce", o)
		if err := c.client.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if err := c.client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		got := c.updated(t, "enforce", o, func(o client.Object) {
			o.SetFinalizers(nil)
			specOf(t, o).Containers[0].Image = "a:2"
		})
		if got != 0 {
			t.Errorf("%s under deletion: %d calls, want 0", kind, got)
		}
	}
}

func (c *conditions) testEphemeral(t *testing.T) {
	o := kinds()["Pod"](podSpec("a:1"))
	_, ns := c.created(t, "enforce", o)
	debug := func(name, image string) int {
		pod := o.(*corev1.Pod)
		pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, corev1.EphemeralContainer{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{
				Name: name, Image: image, TerminationMessagePolicy: corev1.TerminationMessageReadFile,
			},
		})
		if err := c.client.SubResource("ephemeralcontainers").Update(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
		return c.take("enforce", ns)
	}
	if got := debug("d1", "busybox"); got != 1 {
		t.Errorf("an ephemeral container with a tag: %d calls, want 1", got)
	}
	label := func(o client.Object) { o.SetLabels(map[string]string{"new": "label"}) }
	if got := c.updated(t, "enforce", o, label); got != 0 {
		t.Errorf("a label after it: %d calls, want 0", got)
	}
}

func (c *conditions) testModes(t *testing.T) {
	pinned := "a:1@" + digestOf("1")
	proposed := func(o client.Object) {
		o.SetAnnotations(map[string]string{"tagpin.dev/proposed-pins": `{"c1":"a:1"}`})
	}
	type calls struct{ create, pinned, tag, pin, outdated, forgotten, restart, label int }
	for mode, want := range map[string]calls{
		"enforce": {create: 1, tag: 1, restart: 1, outdated: 1},
		"dry-run": {create: 1, tag: 1, restart: 1, outdated: 1, forgotten: 1},
		"keep":    {tag: 1},
	} {
		t.Run(mode, func(t *testing.T) {
			check := func(what string, got, want int) {
				t.Helper()
				if got != want {
					t.Errorf("%s: %d calls, want %d", what, got, want)
				}
			}
			tagged, o := kinds()["Deployment"](podSpec("a:1")), kinds()["Deployment"](podSpec(pinned))
			n, _ := c.created(t, mode, tagged)
			check("created with a tag", n, want.create)
			n, _ = c.created(t, mode, o)
			check("created pinned", n, want.pinned)
			image := func(text string) func(client.Object) {
				return func(o client.Object) { specOf(t, o).Containers[0].Image = text }
			}
			check("a tag for a pin", c.updated(t, mode, o, image("a:1")), want.tag)
			check("a pin for a tag", c.updated(t, mode, tagged, image(pinned)), want.pin)
			check("a pin for a tag that had a proposal", c.updated(t, mode, tagged, func(o client.Object) {
				proposed(o)
				image(pinned)(o)
			}), want.outdated)
			had := kinds()["Deployment"](podSpec("a:1"))
			proposed(had)
			c.created(t, mode, had)
			forget := func(o client.Object) { o.SetAnnotations(nil) }
			check("a proposal is removed", c.updated(t, mode, had, forget), want.forgotten)
			check("a restart", c.updated(t, mode, o, func(o client.Object) {
				annotate(t, o, "kubectl.kubernetes.io/restartedAt", "now")
			}), want.restart)
			check("a label", c.updated(t, mode, tagged, func(o client.Object) {
				o.SetLabels(map[string]string{"new": "label"})
			}), want.label)
		})
	}
	n, ns := c.created(t, "off", kinds()["Pod"](podSpec("a:1")))
	for _, mode := range []string{"enforce", "dry-run", "keep"} {
		n += c.take(mode, ns)
	}
	if n != 0 {
		t.Errorf("a namespace that is off: %d calls, want 0", n)
	}
}

func (c *conditions) testScale(t *testing.T) {
	o := kinds()["Deployment"](podSpec("a:1"))
	_, ns := c.created(t, "enforce", o)
	kubectl(t, "", "-n", ns, "scale", "deployment", o.GetName(), "--replicas=3")
	if got := c.take("enforce", ns); got != 0 {
		t.Errorf("scaled: %d calls, want 0", got)
	}
}

// testLarge checks that the largest objects are within the cost that the API server allows
// conditions.
func (c *conditions) testLarge(t *testing.T) {
	const containers = 5000
	for _, tt := range []struct {
		name, last string
		want       int
	}{
		{"pinned", "@" + digestOf("1"), 0},
		{"unpinned", "", 1},
	} {
		spec := corev1.PodSpec{}
		addContainers(&spec, containers,
			"registry.example.com:5000/team/application:1.2.3@"+digestOf("1"))
		spec.Containers[containers-1].Image = "a:1" + tt.last
		o := kinds()["Deployment"](spec)
		if got, _ := c.created(t, "enforce", o); got != tt.want {
			t.Errorf("created %s: %d calls, want %d", tt.name, got, tt.want)
		}
		changed := func(o client.Object) { specOf(t, o).Containers[0].Image = "b:1@" + digestOf("2") }
		if got := c.updated(t, "enforce", o, changed); got != tt.want {
			t.Errorf("updated %s: %d calls, want %d", tt.name, got, tt.want)
		}
	}
}

// testTooLarge has more containers than the conditions can evaluate. The API server denies the
// object, because the registration fails closed, and counts it in the metric that an alert uses.
func (c *conditions) testTooLarge(t *testing.T) {
	const containers = 40_000
	const metric = `apiserver_admission_match_condition_evaluation_errors_total{kind="webhook",` +
		`name="enforce.tagpin.dev",operation="CREATE",type="admit"}`
	spec := corev1.PodSpec{}
	addContainers(&spec, containers, "a")
	o := kinds()["Deployment"](spec)
	o.SetNamespace(newLabelled(t, countedLabel, "enforce"))
	err := c.client.Create(t.Context(), o, client.DryRunAll)
	if err == nil || !strings.Contains(err.Error(), "cost limit exceeded") {
		t.Fatalf("%d containers: %v, want the cost limit exceeded", containers, err)
	}
	metrics, err := env.Client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(metrics), "\n"+metric+" ") {
		t.Errorf("the API server's metrics lack %s", metric)
	}
}
