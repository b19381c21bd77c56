// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
)

// TestPinned creates every kind with a tag in each place where a reference may be. Everything that
// the API server stores is pinned.
func TestPinned(t *testing.T) {
	c, _ := newClient(t)
	reference, digest := push(t, env.Open, repository(t)+":1")
	index, err := env.Open.PushIndex(repository(t) + "-index:1")
	if err != nil {
		t.Fatal(err)
	}
	indexReference := env.Open.Host + "/" + repository(t) + "-index:1"
	for kind, object := range kinds() {
		t.Run(kind, func(t *testing.T) {
			spec := podSpec(reference, indexReference)
			spec.InitContainers = []corev1.Container{{Name: "init", Image: reference}}
			if env.Has(cluster.ImageVolumes) {
				spec.Volumes = []corev1.Volume{imageVolume("v", reference)}
			}
			o := object(spec)
			create(t, c, newNamespace(t, "enforce"), o)
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
				t.Fatal(err)
			}
			meta, got := parts(t, o)
			wantImage(t, "image", got.Containers[0].Image, reference, digest)
			wantImage(t, "image of an index", got.Containers[1].Image, indexReference, index)
			wantImage(t, "init container", got.InitContainers[0].Image, reference, digest)
			var pins map[string]string
			if err := json.Unmarshal([]byte(meta.Annotations["tagpin.dev/pins"]), &pins); err != nil {
				t.Fatalf("annotations %v: %v", meta.Annotations, err)
			}
			pin := reference + "@" + digest
			want := map[string]string{"c0": pin, "c1": indexReference + "@" + index, "init": pin}
			if env.Has(cluster.ImageVolumes) {
				wantImage(t, "volume", got.Volumes[0].Image.Reference, reference, digest)
				want["volume/v"] = pin
			}
			if diff := cmp.Diff(want, pins); diff != "" {
				t.Errorf("tagpin.dev/pins: -want +got\n%s", diff)
			}
		})
	}
}

// TestPinnedByKubectl applies a file of manifests as users write them.
func TestPinnedByKubectl(t *testing.T) {
	ns := newNamespace(t, "enforce")
	reference, digest := push(t, env.Open, repository(t)+":1")
	manifests, err := os.ReadFile("testdata/workloads.yaml")
	if err != nil {
		t.Fatal(err)
	}
	kubectl(t, strings.ReplaceAll(string(manifests), "IMAGE", reference), "-n", ns, "apply", "-f", "-")
	for name, spec := range map[string]string{
		"deployment/web":    ".spec.template.spec",
		"statefulset/db":    ".spec.template.spec",
		"cronjob/report":    ".spec.jobTemplate.spec.template.spec",
		"pod/shell":         ".spec",
		"podtemplate/batch": ".template.spec",
	} {
		got := kubectl(t, "", "-n", ns, "get", name, "-o", "jsonpath={"+spec+".containers[*].image}")
		wantImage(t, name, got, reference, digest)
	}
}

// TestLeft has objects that tagpin must not change.
func TestLeft(t *testing.T) {
	c, _ := newClient(t)
	reference, digest := push(t, env.Open, repository(t)+":1")
	never := podSpec(reference)
	never.Containers[0].ImagePullPolicy = corev1.PullNever
	owned := kinds()["ReplicaSet"](podSpec(reference))
	owned.SetOwnerReferences(controlledBy("apps/v1", "Deployment"))
	for name, o := range map[string]client.Object{
		"a pull policy of Never":    kinds()["Deployment"](never),
		"pinned by its author":      kinds()["Pod"](podSpec(reference + "@" + digestOf("1"))),
		"owned by a controller":     owned,
		"a digest and no tag":       kinds()["Pod"](podSpec(strings.TrimSuffix(reference, ":1") + "@" + digest)),
		"Istio's placeholder, auto": kinds()["Deployment"](podSpec("auto")),
		"an invalid image text":     kinds()["Deployment"](podSpec("Not:Valid:1")),
	} {
		t.Run(name, func(t *testing.T) {
			before := specOf(t, o).Containers[0].Image
			create(t, c, newNamespace(t, "enforce"), o)
			if got := specOf(t, o).Containers[0].Image; got != before {
				t.Errorf("image = %s, want %s", got, before)
			}
			meta, _ := parts(t, o)
			if got, ok := meta.Annotations["tagpin.dev/pins"]; ok {
				t.Errorf("tagpin.dev/pins = %s, want none", got)
			}
		})
	}
}

// TestVolumeLeft has an image volume that the kubelet must not pull.
func TestVolumeLeft(t *testing.T) {
	clustertest.Needs(t, env, cluster.ImageVolumes)
	c, _ := newClient(t)
	reference, digest := push(t, env.Open, repository(t)+":1")
	for _, kind := range []string{"Pod", "Deployment", "CronJob"} {
		spec := podSpec(reference)
		never := imageVolume("never", reference)
		never.Image.PullPolicy = corev1.PullNever
		spec.Volumes = []corev1.Volume{imageVolume("pulled", reference), never}
		o := kinds()[kind](spec)
		create(t, c, newNamespace(t, "enforce"), o)
		volumes := specOf(t, o).Volumes
		wantImage(t, kind+"'s volume", volumes[0].Image.Reference, reference, digest)
		if got := volumes[1].Image.Reference; got != reference {
			t.Errorf("%s's volume with the pull policy Never = %s, want %s", kind, got, reference)
		}
	}
}

// TestNotFound checks that missing images are denied at once, and that the denial names all of
// them.
func TestNotFound(t *testing.T) {
	c, _ := newClient(t)
	missing := env.Open.Host + "/nowhere:1"
	o := kinds()["Deployment"](podSpec(missing, missing+"2"))
	o.SetNamespace(newNamespace(t, "enforce"))
	err := c.Create(t.Context(), o)
	if err == nil {
		t.Fatal("the Deployment was admitted, want a denial")
	}
	for _, want := range []string{
		"denied the request", `container "c0": can't pin ` + missing + ":", `container "c1": can't pin ` + missing + "2:",
		"404 Not Found", "check the image's name and tag",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("denial = %v, want %s in it", err, want)
		}
	}
}
