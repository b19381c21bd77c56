// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// TestExemptedLater exempts an image after it was pinned. Applying its manifest again keeps the
// pin, because its removal would cause a rollout.
func TestExemptedLater(t *testing.T) {
	ns := newNamespace(t, "enforce")
	reference, digest := push(t, env.Open, repository(t)+":1")
	manifest := fmt.Sprintf(deployment, reference)
	apply(t, ns, manifest)
	exempt := func(config string) string {
		return config + "exemptImages: ['docker.io/library/auto:latest', '" + strings.TrimSuffix(reference, ":1") + "']\n"
	}
	if err := env.Reconfigure(t.Context(), exempt); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := env.Reconfigure(context.WithoutCancel(t.Context()), nil); err != nil {
			t.Error(err)
		}
	}()
	apply(t, ns, manifest)
	o := get(t, ns, "deployment/web")
	wantImage(t, "exempted", o.image(), reference, digest)
	o.wantGeneration(t, 1)
	other := newNamespace(t, "enforce")
	apply(t, other, manifest)
	if got := get(t, other, "deployment/web").image(); got != reference {
		t.Errorf("image of a new object = %s, want %s", got, reference)
	}
}

// TestShortNames has a config that leaves images without a registry host alone. Other images of the
// same pod are pinned.
func TestShortNames(t *testing.T) {
	leave := func(config string) string { return config + "shortNames: leave\n" }
	if err := env.Reconfigure(t.Context(), leave); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := env.Reconfigure(context.WithoutCancel(t.Context()), nil); err != nil {
			t.Error(err)
		}
	}()
	reference, digest := push(t, env.Open, repository(t)+":1")
	c, seen := newClient(t)
	for kind, object := range kinds() {
		o := object(podSpec(reference, "nginx", "library/nginx:1"))
		create(t, c, newNamespace(t, "enforce"), o)
		containers := specOf(t, o).Containers
		wantImage(t, kind, containers[0].Image, reference, digest)
		if containers[1].Image != "nginx" || containers[2].Image != "library/nginx:1" {
			t.Errorf("%s: short names = %s, %s, want them unchanged",
				kind, containers[1].Image, containers[2].Image)
		}
	}
	if warned := seen.String(); warned != "" {
		t.Errorf("warnings %q, want none", warned)
	}
}

// TestNeverLater sets a container's pull policy to Never after it was pinned. The pin stays.
func TestNeverLater(t *testing.T) {
	ns := newNamespace(t, "enforce")
	reference, digest := push(t, env.Open, repository(t)+":1")
	manifest := fmt.Sprintf(deployment, reference)
	apply(t, ns, manifest)
	apply(t, ns, manifest+"        imagePullPolicy: Never\n")
	wantImage(t, "set to Never", get(t, ns, "deployment/web").image(), reference, digest)
	never := newNamespace(t, "enforce")
	apply(t, never, manifest+"        imagePullPolicy: Never\n")
	if got := get(t, never, "deployment/web").image(); got != reference {
		t.Errorf("image of a new object = %s, want %s", got, reference)
	}
}

// TestKeptWithWarning changes a template after its tag has moved. The pin stays, and a warning says
// how to refresh. After a refresh the image is the new one.
func TestKeptWithWarning(t *testing.T) {
	ns, tag := newNamespace(t, "enforce"), repository(t)+":main"
	reference, first := push(t, env.Open, tag)
	manifest := fmt.Sprintf(deployment, reference)
	apply(t, ns, manifest)
	_, second := push(t, env.Open, tag)
	changed := manifest + "        tty: true\n"
	warning := apply(t, ns, changed)
	wantImage(t, "with another change", get(t, ns, "deployment/web").image(), reference, first)
	for _, want := range []string{`container "app": ` + reference + " kept at " + first[:len("sha256:")+12], "kubectl rollout restart", "tagpin.dev/refresh"} {
		if !strings.Contains(warning, want) {
			t.Errorf("stderr of kubectl apply = %q, want %s", warning, want)
		}
	}
	kubectl(t, "", "-n", ns, "patch", "deployment", "web", "--type=merge", "-p",
		`{"spec":{"template":{"metadata":{"annotations":{"tagpin.dev/refresh":"commit"}}}}}`)
	wantImage(t, "refreshed", get(t, ns, "deployment/web").image(), reference, second)
	if warning := apply(t, ns, changed); warning != "" {
		t.Errorf("stderr of another apply = %s, want no warning", warning)
	}
}
