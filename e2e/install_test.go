// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/registry"
)

// TestPermissions asks the API server what the service account may do: what it needs, and nothing
// that would reveal or change more.
func TestPermissions(t *testing.T) {
	for action, want := range map[string]string{
		"get secrets":                          "yes",
		"get serviceaccounts":                  "yes",
		"list pods":                            "yes",
		"list secrets":                         "no",
		"watch secrets":                        "no",
		"create serviceaccounts/token":         "no",
		"create pods":                          "no",
		"patch deployments":                    "no",
		"get namespaces":                       "no",
		"get nodes":                            "no",
		"get services":                         "no",
		"delete mutatingwebhookconfigurations": "no",
		"update mutatingwebhookconfigurations": "no",
		"escalate clusterroles":                "no",
	} {
		verb, resource, _ := strings.Cut(action, " ")
		// kubectl exits with 1 if the answer is no.
		out, stderr, err := env.RunKubectl(t.Context(), nil, "auth", "can-i", verb, resource, "--all-namespaces", "--as="+cluster.ServiceAccount)
		if got := strings.TrimSpace(out); got != want {
			t.Errorf("permission to %s = %s, want %s (%v, %s)", action, got, want, err, stderr)
		}
	}
}

// TestUsesItsPermissions checks that tagpin has read secrets and service accounts with its own
// credentials, and that no read was forbidden.
func TestUsesItsPermissions(t *testing.T) {
	const reads = "tagpin_keychain_reads_total"
	c, _ := newClient(t)
	reference, _ := push(t, env.Token, repository(t)+":1")
	before := map[string]float64{}
	for _, kind := range []string{"secret", "serviceaccount"} {
		before[kind] = metric(t, reads, `kind="`+kind+`"`, `result="ok"`)
	}
	ns := newNamespace(t, "enforce")
	newSecret(t, ns, "pull", env.Token.Host, registry.Password)
	clustertest.NewServiceAccount(t, env.Client, ns, "puller", "pull")
	spec := podSpec(reference)
	spec.ServiceAccountName = "puller"
	create(t, c, ns, kinds()["Deployment"](spec))
	for kind, n := range before {
		if got := metric(t, reads, `kind="`+kind+`"`, `result="ok"`) - n; got < 1 {
			t.Errorf("%ss were read %v times, want at least once", kind, got)
		}
	}
	if got := metric(t, reads, `result="forbidden"`); got != 0 {
		t.Errorf("%v reads were forbidden, want none", got)
	}
}

// TestNoCalls counts the reviews of tagpin: one for an object with a tag, and none for pinned
// objects.
func TestNoCalls(t *testing.T) {
	const reviews = "tagpin_admission_reviews_total"
	c, _ := newClient(t)
	ns := newNamespace(t, "enforce")
	reference, digest := push(t, env.Open, repository(t)+":1")
	before := metric(t, reviews)
	create(t, c, ns, kinds()["Deployment"](podSpec(reference)))
	if got := metric(t, reviews) - before; got != 1 {
		t.Errorf("%v reviews for a Deployment with a tag, want 1", got)
	}
	before = metric(t, reviews)
	pod := ownedPod(reference + "@" + digest)
	create(t, c, ns, pod)
	pod.Labels = map[string]string{"unrelated": "edit"}
	if err := c.Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "", "-n", ns, "scale", "deployment", "w", "--replicas=7")
	owned := kinds()["ReplicaSet"](podSpec(reference))
	owned.SetOwnerReferences(ownedPod(reference).OwnerReferences)
	create(t, c, ns, owned)
	if err := c.Delete(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if got := metric(t, reviews) - before; got != 0 {
		t.Errorf("%v reviews for objects that are pinned or owned by a controller, want none", got)
	}
}

// TestNeverInSystemNamespaces labels a namespace that tagpin never serves, because a mistake there
// could stop a cluster.
func TestNeverInSystemNamespaces(t *testing.T) {
	c, _ := newClient(t)
	const ns = "kube-node-lease"
	reference, _ := push(t, env.Open, repository(t)+":1")
	clustertest.NewServiceAccount(t, env.Client, ns, "default")
	kubectl(t, "", "label", "namespace", ns, cluster.ModeLabel+"=enforce")
	relabel(t, newNamespace(t, "off"), "enforce", reference) // the API server learns of labels in order
	o := kinds()["Pod"](podSpec(reference)).(*corev1.Pod)
	create(t, c, ns, o)
	if got := o.Spec.Containers[0].Image; got != reference {
		t.Errorf("image = %s, want %s", got, reference)
	}
}

// metric sums the series of a metric of tagpin.
func metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	return clustertest.Metric(t, env.Tagpin, name, labels...)
}
