// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
)

// conditions is the fixture of the tests of the registration's conditions.
type conditions struct {
	*counter
	client client.Client
}

// created creates an object in a new namespace with a mode, and returns the number of calls and the
// namespace.
func (c *conditions) created(t *testing.T, mode string, o client.Object) (calls int, ns string) {
	t.Helper()
	ns = newLabelled(t, countedLabel, mode)
	o.SetNamespace(ns)
	if err := c.client.Create(t.Context(), o); !acceptable(err) {
		t.Fatalf("creating %T: %v", o, err)
	}
	return c.take(mode, ns), ns
}

// updated updates an object as a dry run, and returns the number of calls.
func (c *conditions) updated(
	t *testing.T, mode string, o client.Object, change func(client.Object),
) int {
	t.Helper()
	changed := o.DeepCopyObject().(client.Object)
	change(changed)
	if err := c.client.Update(t.Context(), changed, client.DryRunAll); !acceptable(err) {
		t.Fatalf("updating %T: %v", o, err)
	}
	return c.take(mode, o.GetNamespace())
}

// TestConditions checks for which requests the API server calls tagpin, which it decides by the
// conditions of the registration.
func TestConditions(t *testing.T) {
	api, _ := newClient(t)
	c := &conditions{counter: startCounter(t), client: api}
	t.Run("kinds", c.testKinds)
	t.Run("places", c.testPlaces)
	t.Run("references", c.testReferences)
	t.Run("owners", c.testOwners)
	t.Run("mirror", c.testMirror)
	t.Run("forged metadata", c.testForgedMetadata)
	t.Run("deleted", c.testDeleted)
	t.Run("ephemeral", c.testEphemeral)
	t.Run("modes", c.testModes)
	t.Run("scale", c.testScale)
	t.Run("large", c.testLarge)
	t.Run("too large", c.testTooLarge)
	t.Run("custom", c.testCustom)
}

func (c *conditions) testKinds(t *testing.T) {
	pinned := "a:1@" + digestOf("1")
	for kind, object := range kinds() {
		t.Run(kind, func(t *testing.T) {
			refreshes := 1
			if kind == "Pod" || kind == "Job" {
				refreshes = 0
			}
			o, p := object(podSpec("a:1", pinned)), object(podSpec(pinned))
			if n, _ := c.created(t, "enforce", p); n != 0 {
				t.Errorf("created pinned: %d calls, want 0", n)
			}
			if n, _ := c.created(t, "enforce", o); n != 1 {
				t.Errorf("created unpinned: %d calls, want 1", n)
			}
			label := func(o client.Object) { o.SetLabels(map[string]string{"new": "label"}) }
			image := func(text string) func(client.Object) {
				return func(o client.Object) { specOf(t, o).Containers[0].Image = text }
			}
			mark := func(key, value string) func(client.Object) {
				return func(o client.Object) { annotate(t, o, key, value) }
			}
			for _, tt := range []struct {
				name   string
				object client.Object
				change func(client.Object)
				want   int
			}{
				{"a label of an unpinned one", o, label, 0},
				{"a label of a pinned one", p, label, 0},
				{"a tag for a tag", o, image("a:2"), 1},
				{"a tag for a pin", p, image("a:1"), 1},
				{"a pin for a tag", o, image(pinned), 0},
				{"a pin for a pin", p, image("a:1@" + digestOf("2")), 0},
				{"restart", p, mark("kubectl.kubernetes.io/restartedAt", "now"), refreshes},
				{"restart by Keel", p, mark("keel.sh/update-time", "now"), refreshes},
				{"refresh", o, mark("tagpin.dev/refresh", "now"), refreshes},
				{"an empty marker", o, mark("tagpin.dev/refresh", ""), 0},
				{"restart by Okteto, not in the config", p, mark("dev.okteto.com/restart", "now"), 0},
				{"another annotation", o, mark("tagpin.dev/refreshed", "now"), 0},
			} {
				if got := c.updated(t, "enforce", tt.object, tt.change); got != tt.want {
					t.Errorf("%s: %d calls, want %d", tt.name, got, tt.want)
				}
			}
		})
	}
}

func (c *conditions) testPlaces(t *testing.T) {
	pinned := "a:1@" + digestOf("1")
	for _, tt := range []struct {
		name string
		spec func(*corev1.PodSpec)
		want int
	}{
		{"nothing else", func(*corev1.PodSpec) {}, 0},
		{"init container", func(s *corev1.PodSpec) {
			s.InitContainers = []corev1.Container{{Name: "i", Image: "b:1"}}
		}, 1},
		{"pinned init container", func(s *corev1.PodSpec) {
			s.InitContainers = []corev1.Container{{Name: "i", Image: pinned}}
		}, 0},
		{"image volume", func(s *corev1.PodSpec) { s.Volumes = []corev1.Volume{imageVolume("v", "b:1")} }, 1},
		{"pinned image volume", func(s *corev1.PodSpec) { s.Volumes = []corev1.Volume{imageVolume("v", pinned)} }, 0},
		{"rbd volume, whose image is not a reference", func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{
				RBD: &corev1.RBDVolumeSource{CephMonitors: []string{"m"}, RBDImage: "disk"},
			}}}
		}, 0},
		{"other volume", func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{
				EmptyDir: &corev1.EmptyDirVolumeSource{},
			}}}
		}, 0},
		{"no containers", func(s *corev1.PodSpec) { s.Containers = nil }, 0},
		{"no image", func(s *corev1.PodSpec) { s.Containers[0].Image = "" }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, kind := range []string{"Pod", "Deployment", "CronJob", "PodTemplate"} {
				spec := podSpec(pinned)
				tt.spec(&spec)
				if len(spec.Volumes) > 0 && spec.Volumes[0].Image != nil {
					clustertest.Needs(t, env, cluster.ImageVolumes)
				}
				if got, _ := c.created(t, "enforce", kinds()[kind](spec)); got != tt.want {
					t.Errorf("%s: %d calls, want %d", kind, got, tt.want)
				}
			}
		})
	}
}

func (c *conditions) testReferences(t *testing.T) {
	long := digestOf("a") + digestOf("b")[len("sha256:"):] // 128 digits
	for text, want := range map[string]int{
		"a":                    1,
		"a:1":                  1,
		"host:5000/a":          1,
		digestOf("0"):          1, // an image named sha256
		"a@" + digestOf("0"):   0,
		"a:1@" + digestOf("f"): 0,
		"host:5000/a@sha512:" + long[len("sha256:"):]: 0,
		"a@sha384:" + long[len("sha256:"):][:96]:      0,
		"a@junk":                                      0, // invalid: tagpin would leave it alone
	} {
		if got, _ := c.created(t, "enforce", kinds()["Pod"](podSpec(text))); got != want {
			t.Errorf("%s: %d calls, want %d", text, got, want)
		}
	}
}
