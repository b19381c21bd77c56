// SPDX-License-Identifier: Apache-2.0

package kueue

import (
	"context"
	"fmt"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// TestOrder creates objects that both change.
func TestOrder(t *testing.T) {
	const name = "kueue-mutating-webhook-configuration"
	env.Record(t, neighbours.Check{
		Done:   "A Job, a Pod and a Deployment in a LocalQueue are created as a dry run.",
		Result: "Kueue's registration `kueue-mutating-webhook-configuration` sorts before `zz-tagpin`, and has `reinvocationPolicy: Never`. Kueue suspends the Job, gates the Pod and labels the Deployment's template. tagpin pins each, and is called once for each.",
	})
	if name >= cluster.ConfigurationName {
		t.Errorf("%s does not sort before %s", name, cluster.ConfigurationName)
	}
	registration, err := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().
		Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range registration.Webhooks {
		w := &registration.Webhooks[i]
		if *w.ReinvocationPolicy != admissionv1.NeverReinvocationPolicy {
			t.Errorf("%s has the policy %s, want Never", w.Name, *w.ReinvocationPolicy)
		}
	}
	q := newQueue(t, 1)
	reference, digest := q.Push("1")
	for _, tt := range []struct{ manifest, path, want string }{
		{
			fmt.Sprintf(job, "a", reference, "", 1, ""),
			"{.spec.suspend} {.spec.template.spec.containers[0].image}", "true ",
		},
		{
			fmt.Sprintf(pod, "a", reference, "", ""),
			"{.spec.schedulingGates[0].name} {.spec.containers[0].image}", "kueue.x-k8s.io/admission ",
		},
		{
			queuedDeployment(reference),
			`{.spec.template.metadata.labels.kueue\.x-k8s\.io/managed} ` +
				"{.spec.template.spec.containers[0].image}", "true ",
		},
	} {
		q.Eventually("one call of tagpin", func(context.Context) error {
			const reviews = "tagpin_admission_reviews_total"
			before := clustertest.Metric(t, env.Tagpin, reviews)
			got := q.Kubectl(tt.manifest, "create", "--dry-run=server", "-f", "-",
				"-o", "jsonpath="+tt.path)
			calls := clustertest.Metric(t, env.Tagpin, reviews) - before
			if want := tt.want + reference + "@" + digest; got != want || calls != 1 {
				return fmt.Errorf("%s = %q after %v calls, want %q after 1", tt.path, got, calls, want)
			}
			return nil
		})
	}
}
