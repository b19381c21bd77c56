// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/random"
	corev1 "k8s.io/api/core/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/poll"
)

// stale is the policy's warning after an edit from a:1 to a:2 with the same digest.
const stale = "a:2 is still the image of a:1, since the digest beside it has not changed; " +
	"if that is not meant, write the digest of a:2, or remove the digest"

// installTagPolicy installs the policies for namespaces with a label, and waits until the one that
// warns of stale digests is in force too.
func installTagPolicy(t *testing.T, label string) {
	t.Helper()
	installPolicy(t, label, nil)
	ns := newLabelled(t, label, "enforce")
	c, seen := newClient(t)
	one := "a:1@" + digestOf("1")
	create(t, c, ns, kinds()["Deployment"](podSpec(one)))
	poll.Until(t, func(ctx context.Context) error {
		o := kinds()["Deployment"](podSpec("a:2@" + digestOf("1")))
		o.SetNamespace(ns)
		err := c.Update(ctx, o)
		if err == nil && !strings.Contains(seen.String(), stale) {
			o.SetResourceVersion("")
			specOf(t, o).Containers[0].Image = one
			err = errors.Join(c.Update(ctx, o), errors.New("the policy is not in force"))
		}
		return err
	})
}

// TestStaleDigestWarns changes the tag beside a digest, and not the digest, in each place of each
// kind that can be edited. The edit is accepted, and a warning says that the image is the same.
func TestStaleDigestWarns(t *testing.T) {
	installTagPolicy(t, policyLabel)
	for place, at := range map[string]func(*corev1.PodSpec, string){
		"containers":     func(s *corev1.PodSpec, image string) { s.Containers[0].Image = image },
		"initContainers": func(s *corev1.PodSpec, image string) { s.InitContainers[0].Image = image },
		"volumes":        func(s *corev1.PodSpec, image string) { s.Volumes[0].Image.Reference = image },
	} {
		for kind, object := range kinds() {
			if kind == "Job" || kind == "Pod" && place == "volumes" {
				continue // can't be edited
			}
			if place == "volumes" && !env.Has(cluster.ImageVolumes) {
				continue
			}
			c, seen := newClient(t)
			spec := podSpec("b:1@" + digestOf("2"))
			spec.InitContainers = []corev1.Container{{Name: "i", Image: "b:1@" + digestOf("2")}}
			if env.Has(cluster.ImageVolumes) {
				spec.Volumes = []corev1.Volume{imageVolume("v", "b:1@"+digestOf("2"))}
			}
			at(&spec, "a:1@"+digestOf("1"))
			o := object(spec)
			create(t, c, newLabelled(t, policyLabel, "enforce"), o)
			at(specOf(t, o), "a:2@"+digestOf("1"))
			if err := c.Update(t.Context(), o); err != nil || strings.Count(seen.String(), stale) != 1 {
				t.Errorf("%s, a tag in %s: %v, warnings %q, want %q", kind, place, err, seen, stale)
			}
		}
	}
}

// TestStaleDigestTable has images before and after an edit.
func TestStaleDigestTable(t *testing.T) {
	installTagPolicy(t, policyLabel)
	one, two := "@"+digestOf("1"), "@"+digestOf("2")
	for _, tt := range []struct {
		before, after string
		want          string // the text that the digest belongs to; if empty, no warning
	}{
		{"nginx:1.25" + one, "nginx:1.26" + one, "nginx:1.25"},
		{"host.example:5000/a/b:1" + one, "host.example:5000/a/b:2" + one, "host.example:5000/a/b:1"},
		{"nginx:1.25" + one, "nginx:1.26" + two, ""},
		{"nginx:1.25" + one, "nginx:1.25" + two, ""},
		{"nginx:1.25" + one, "nginx" + one, ""},
		{"nginx" + one, "nginx:1.26" + one, ""},
		{"nginx:1.25", "nginx:1.26" + one, ""},
		{"nginx:1.25" + one, "nginx:1.26", ""},
		{"nginx:1.25" + one, "mirror.example/nginx:1.26" + one, ""},
		{"localhost:5000/x" + one, "localhost:1" + one, ""},
		{"nginx:1.25" + one, "nginx:1.25" + one, ""},
	} {
		c, seen := newClient(t)
		o := kinds()["Deployment"](podSpec("other:1"+two, tt.before))
		create(t, c, newLabelled(t, policyLabel, "enforce"), o)
		at := len(seen.String())
		specOf(t, o).Containers[1].Image = tt.after
		o.SetLabels(map[string]string{"another": "edit"})
		if err := c.Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		warned := seen.String()[at:]
		want := " is still the image of " + tt.want + ", since"
		if tt.want == "" && strings.Contains(warned, "is still the image") {
			t.Errorf("%s over %s: warnings %q, want none", tt.after, tt.before, warned)
		}
		if tt.want != "" && !strings.Contains(warned, want) {
			t.Errorf("%s over %s: warnings %q, want %q", tt.after, tt.before, warned, want)
		}
	}
}

// TestPromotedTag deploys another tag of the running image. Because tagpin has looked up the tag,
// there is no warning. An edit of only the tag causes one.
func TestPromotedTag(t *testing.T) {
	installTagPolicy(t, cluster.ModeLabel)
	image, err := random.Image(1024, 1)
	if err != nil {
		t.Fatal(err)
	}
	var digest string
	for _, tag := range []string{":rc", ":v1", ":v2"} {
		if digest, err = env.Open.Push(repository(t)+tag, image); err != nil {
			t.Fatal(err)
		}
	}
	reference := env.Open.Host + "/" + repository(t)
	for kind, object := range kinds() {
		if kind == "Job" {
			continue // can't be edited
		}
		c, seen := newClient(t)
		o := object(podSpec(reference + ":rc"))
		create(t, c, newNamespace(t, "enforce"), o)
		specOf(t, o).Containers[0].Image = reference + ":v1"
		const warning = "is still the image of"
		if err := c.Update(t.Context(), o); err != nil || strings.Contains(seen.String(), warning) {
			t.Errorf("%s, promoted: %v, warnings %q, want none", kind, err, seen)
		}
		wantImage(t, kind, specOf(t, o).Containers[0].Image, reference+":v1", digest)
		specOf(t, o).Containers[0].Image = reference + ":v2@" + digest
		if err := c.Update(t.Context(), o); err != nil || !strings.Contains(seen.String(), warning) {
			t.Errorf("%s, only the tag: %v, warnings %q, want one", kind, err, seen)
		}
	}
}

// TestStaleDigestOfLargeObjects edits objects with many containers. One changed tag among hundreds
// causes a warning. If an object is too large for the cost that the API server allows an
// expression, the edit is accepted without a warning.
func TestStaleDigestOfLargeObjects(t *testing.T) {
	installTagPolicy(t, policyLabel)
	for n, warned := range map[int]bool{300: true, 2000: false} {
		c, seen := newClient(t)
		spec := podSpec("a:1@" + digestOf("1"))
		addContainers(&spec, n, "b:1@"+digestOf("2"))
		o := kinds()["Deployment"](spec)
		create(t, c, newLabelled(t, policyLabel, "enforce"), o)
		specOf(t, o).Containers[0].Image = "a:2@" + digestOf("1")
		err := c.Update(t.Context(), o)
		if got := strings.Contains(seen.String(), stale); err != nil || got != warned {
			t.Errorf("one changed tag of %d: %v, warnings %q, want a warning: %t", n, err, seen, warned)
		}
		for i := range specOf(t, o).Containers {
			specOf(t, o).Containers[i].Image = "c:1@" + digestOf("3")
		}
		if err := c.Update(t.Context(), o); err != nil {
			t.Errorf("%d changed images: %v, want nil", n, err)
		}
	}
}
