// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/poll"
)

// relabel moves a namespace to another mode, and waits until the API server calls the webhook of that mode for it, as an
// object that is to be pinned shows.
func relabel(t *testing.T, ns, mode, reference string) {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, cluster.ModeLabel, mode)
	kubectl(t, "", "patch", "namespace", ns, "--type=merge", "-p", patch)
	poll.Until(t, func(ctx context.Context) error {
		probe := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Spec: podSpec(reference)}
		o, err := env.Client.CoreV1().Pods(ns).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
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
			return fmt.Errorf("a new pod is treated by %s, want %s", got, mode)
		}
		return nil
	})
}

// apply applies a manifest and returns what kubectl told of warnings.
func apply(t *testing.T, ns, manifest string) (stderr string) {
	t.Helper()
	_, stderr, err := env.RunKubectl(t.Context(), strings.NewReader(manifest), "-n", ns, "apply", "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
	return stderr
}

const proposedPins = "tagpin.dev/proposed-pins"

// TestDryRunMode proposes pins in the object's own metadata and rolls nothing out; enforce then makes them.
func TestDryRunMode(t *testing.T) {
	ns := newNamespace(t, "dry-run")
	reference, digest := push(t, env.Open, repository(t)+":1")
	manifest := fmt.Sprintf(deployment, reference)
	warning := apply(t, ns, manifest)
	if want := "would be pinned: " + reference + "@" + digest; !strings.Contains(warning, want) {
		t.Errorf("kubectl apply says %q, want %s", warning, want)
	}
	o := get(t, ns, "deployment/web")
	if o.image() != reference || len(o.Spec.Template.Metadata.Annotations) > 0 {
		t.Errorf("the template is %+v, want it as it was", o.Spec.Template)
	}
	proposal := `{"app":"` + reference + "@" + digest + `"}`
	if got := o.Metadata.Annotations[proposedPins]; got != proposal {
		t.Errorf("%s = %s, want %s", proposedPins, got, proposal)
	}
	t.Log("the proposal stays while the texts stay")
	push(t, env.Open, repository(t)+":1")
	kubectl(t, "", "-n", ns, "scale", "deployment", "web", "--replicas=2")
	apply(t, ns, manifest)
	if got := get(t, ns, "deployment/web").Metadata.Annotations[proposedPins]; got != proposal {
		t.Errorf("after the same again %s = %s, want %s", proposedPins, got, proposal)
	}
	t.Log("enforce makes the pin of another image, and takes the proposal away")
	two, second := push(t, env.Open, repository(t)+":2")
	relabel(t, ns, "enforce", reference)
	apply(t, ns, manifest)
	if got := get(t, ns, "deployment/web"); got.image() != reference {
		t.Errorf("image of what was not changed = %s, want %s", got.image(), reference)
	}
	apply(t, ns, fmt.Sprintf(deployment, two))
	o = get(t, ns, "deployment/web")
	wantImage(t, "image", o.image(), two, second)
	if got, ok := o.Metadata.Annotations[proposedPins]; ok {
		t.Errorf("%s = %s, want it removed", proposedPins, got)
	}
}

// TestDryRunNeverDenies tells in the proposal what enforce would have denied.
func TestDryRunNeverDenies(t *testing.T) {
	ns := newNamespace(t, "dry-run")
	missing := env.Open.Host + "/nowhere:1"
	if warning := apply(t, ns, fmt.Sprintf(deployment, missing)); !strings.Contains(warning, "404 Not Found") {
		t.Errorf("kubectl apply says %q, want 404 Not Found in it", warning)
	}
	o := get(t, ns, "deployment/web")
	if o.image() != missing {
		t.Errorf("image = %s, want %s", o.image(), missing)
	}
	if got := o.Metadata.Annotations[proposedPins]; !strings.HasPrefix(got, `{"app":"error: `) {
		t.Errorf("%s = %s, want an error", proposedPins, got)
	}
}

// TestDryRunKeepsPins has a pinned workload in a namespace that went back to dry-run: the pin stays.
func TestDryRunKeepsPins(t *testing.T) {
	ns := newNamespace(t, "enforce")
	reference, digest := push(t, env.Open, repository(t)+":1")
	apply(t, ns, fmt.Sprintf(deployment, reference))
	relabel(t, ns, "dry-run", reference)
	push(t, env.Open, repository(t)+":1")
	apply(t, ns, fmt.Sprintf(deployment, reference))
	o := get(t, ns, "deployment/web")
	wantImage(t, "image", o.image(), reference, digest)
	if o.Metadata.Generation != 1 {
		t.Errorf("generation = %d, want 1", o.Metadata.Generation)
	}
}

// TestKeepMode holds the pins there are and makes none, without a registry.
func TestKeepMode(t *testing.T) {
	ns := newNamespace(t, "enforce")
	reference, digest := push(t, env.Open, repository(t)+":1")
	apply(t, ns, fmt.Sprintf(deployment, reference))
	relabel(t, ns, "keep", reference)
	asked := env.Open.Manifests()
	apply(t, ns, fmt.Sprintf(deployment, reference))
	o := get(t, ns, "deployment/web")
	wantImage(t, "image", o.image(), reference, digest)
	if o.Metadata.Generation != 1 {
		t.Errorf("generation = %d, want 1", o.Metadata.Generation)
	}
	other := env.Open.Host + "/other:1"
	apply(t, ns, fmt.Sprintf(deployment, other))
	if got := get(t, ns, "deployment/web").image(); got != other {
		t.Errorf("image = %s, want %s", got, other)
	}
	if got := env.Open.Manifests() - asked; got != 0 {
		t.Errorf("%d look-ups, want none", got)
	}
}

// TestOff leaves namespaces without the label, and with a value that is no mode, alone.
func TestOff(t *testing.T) {
	reference, _ := push(t, env.Open, repository(t)+":1")
	for name, ns := range map[string]string{
		"unlabelled": newLabelled(t, "some", "label"), "off": newNamespace(t, "off"), "no mode": newNamespace(t, "enforced"),
	} {
		apply(t, ns, fmt.Sprintf(deployment, reference))
		o := get(t, ns, "deployment/web")
		if o.image() != reference || o.Metadata.Annotations[proposedPins] != "" {
			t.Errorf("%s: image = %s, annotations %v, want %s and no proposal", name, o.image(), o.Metadata.Annotations, reference)
		}
	}
}
