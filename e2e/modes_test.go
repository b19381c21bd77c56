// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/poll"
)

// relabel sets the mode of a namespace, and waits until the API server calls the webhook of that
// mode. reference is an image that can be pinned.
func relabel(t *testing.T, ns, mode, reference string) {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, cluster.ModeLabel, mode)
	kubectl(t, "", "patch", "namespace", ns, "--type=merge", "-p", patch)
	poll.Until(t, func(ctx context.Context) error {
		o, err := dryRun(ctx, ns, reference)
		if err != nil {
			return err
		}
		got := "keep"
		switch {
		case o.Spec.Containers[0].Image != reference:
			got = "enforce"
		case o.Annotations["tagpin.dev/proposed-pins"] != "":
			got = "dry-run"
		}
		if got != mode {
			return fmt.Errorf("the mode for a new pod is %s, want %s", got, mode)
		}
		return nil
	})
}

// apply applies a manifest and returns kubectl's stderr, which has the warnings.
func apply(t *testing.T, ns, manifest string) (stderr string) {
	t.Helper()
	_, stderr, err := env.RunKubectl(t.Context(), strings.NewReader(manifest), "-n", ns, "apply", "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
	return stderr
}

const proposedPins = "tagpin.dev/proposed-pins"

// TestDryRunMode checks that dry-run proposes pins in the object's own metadata and causes no
// rollout, and that enforce then makes pins.
func TestDryRunMode(t *testing.T) {
	ns := newNamespace(t, "dry-run")
	reference, digest := push(t, env.Open, repository(t)+":1")
	manifest := fmt.Sprintf(deployment, reference)
	warning := apply(t, ns, manifest)
	if want := "would be pinned: " + reference + "@" + digest; !strings.Contains(warning, want) {
		t.Errorf("stderr of kubectl apply = %q, want %s", warning, want)
	}
	o := get(t, ns, "deployment/web")
	if o.image() != reference || len(o.Spec.Template.Metadata.Annotations) > 0 {
		t.Errorf("template = %+v, want it unchanged", o.Spec.Template)
	}
	proposal := `{"app":"` + reference + "@" + digest + `"}`
	if got := o.Metadata.Annotations[proposedPins]; got != proposal {
		t.Errorf("%s = %s, want %s", proposedPins, got, proposal)
	}
	t.Log("the proposal stays while the image texts stay")
	push(t, env.Open, repository(t)+":1")
	kubectl(t, "", "-n", ns, "scale", "deployment", "web", "--replicas=2")
	apply(t, ns, manifest)
	if got := get(t, ns, "deployment/web").Metadata.Annotations[proposedPins]; got != proposal {
		t.Errorf("after another apply %s = %s, want %s", proposedPins, got, proposal)
	}
	t.Log("enforce pins another image, and removes the proposal")
	two, second := push(t, env.Open, repository(t)+":2")
	relabel(t, ns, "enforce", reference)
	apply(t, ns, manifest)
	if got := get(t, ns, "deployment/web"); got.image() != reference {
		t.Errorf("unchanged image = %s, want %s", got.image(), reference)
	}
	apply(t, ns, fmt.Sprintf(deployment, two))
	o = get(t, ns, "deployment/web")
	wantImage(t, "image", o.image(), two, second)
	if got, ok := o.Metadata.Annotations[proposedPins]; ok {
		t.Errorf("%s = %s, want it removed", proposedPins, got)
	}
}

// TestDryRunNeverDenies checks that the proposal says what enforce would deny.
func TestDryRunNeverDenies(t *testing.T) {
	ns := newNamespace(t, "dry-run")
	missing := env.Open.Host + "/nowhere:1"
	if warning := apply(t, ns, fmt.Sprintf(deployment, missing)); !strings.Contains(warning, "404 Not Found") {
		t.Errorf("stderr of kubectl apply = %q, want 404 Not Found in it", warning)
	}
	o := get(t, ns, "deployment/web")
	if o.image() != missing {
		t.Errorf("image = %s, want %s", o.image(), missing)
	}
	if got := o.Metadata.Annotations[proposedPins]; !strings.HasPrefix(got, `{"app":"error: `) {
		t.Errorf("%s = %s, want an error", proposedPins, got)
	}
}

// TestDryRunKeepsPins puts a namespace with a pinned workload back into dry-run. The pin stays.
func TestDryRunKeepsPins(t *testing.T) {
	ns := newNamespace(t, "enforce")
	reference, digest := push(t, env.Open, repository(t)+":1")
	apply(t, ns, fmt.Sprintf(deployment, reference))
	relabel(t, ns, "dry-run", reference)
	push(t, env.Open, repository(t)+":1")
	apply(t, ns, fmt.Sprintf(deployment, reference))
	o := get(t, ns, "deployment/web")
	wantImage(t, "image", o.image(), reference, digest)
	o.wantGeneration(t, 1)
}

// TestKeepMode checks that the mode keep holds existing pins, makes none, and needs no registry.
func TestKeepMode(t *testing.T) {
	ns := newNamespace(t, "enforce")
	reference, digest := push(t, env.Open, repository(t)+":1")
	apply(t, ns, fmt.Sprintf(deployment, reference))
	relabel(t, ns, "keep", reference)
	asked := env.Open.Manifests()
	apply(t, ns, fmt.Sprintf(deployment, reference))
	o := get(t, ns, "deployment/web")
	wantImage(t, "image", o.image(), reference, digest)
	o.wantGeneration(t, 1)
	other := env.Open.Host + "/other:1"
	apply(t, ns, fmt.Sprintf(deployment, other))
	if got := get(t, ns, "deployment/web").image(); got != other {
		t.Errorf("image = %s, want %s", got, other)
	}
	if got := env.Open.Manifests() - asked; got != 0 {
		t.Errorf("%d lookups, want none", got)
	}
}

// TestOff has namespaces without the label and with a value that is not a mode. They are left
// alone.
func TestOff(t *testing.T) {
	reference, _ := push(t, env.Open, repository(t)+":1")
	for name, ns := range map[string]string{
		"unlabelled": newLabelled(t, "some", "label"), "off": newNamespace(t, "off"),
		"an unknown mode": newNamespace(t, "enforced"),
	} {
		apply(t, ns, fmt.Sprintf(deployment, reference))
		o := get(t, ns, "deployment/web")
		if o.image() != reference || o.Metadata.Annotations[proposedPins] != "" {
			t.Errorf("%s: image = %s, annotations = %v, want %s and no proposal",
				name, o.image(), o.Metadata.Annotations, reference)
		}
	}
}
