// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/poll"
	"github.com/tagpin/tagpin/pkg/registration"
)

// TestObjectSelector checks that the API server does not call tagpin for workloads that the
// config's objectSelector leaves out, and that it calls tagpin for every Pod, whatever its labels.
func TestObjectSelector(t *testing.T) {
	api, _ := newClient(t)
	c := &conditions{counter: startCounter(t), client: api}
	r := &registration.Registration{Objects: []metav1.LabelSelectorRequirement{
		{Key: "team", Operator: metav1.LabelSelectorOpIn, Values: []string{"a", ""}},
		{Key: "e2e.tagpin.dev/skip", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"yes"}},
		{Key: "app", Operator: metav1.LabelSelectorOpExists},
		{Key: "ci", Operator: metav1.LabelSelectorOpDoesNotExist},
	}}
	configurations := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	live, err := configurations.Get(t.Context(), "zz-tagpin-counted", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range live.Webhooks {
		w := &live.Webhooks[i]
		w.MatchConditions = append(w.MatchConditions, admissionregistrationv1.MatchCondition{
			Name: "pod-or-selected", Expression: r.Selected(),
		})
	}
	if _, err := configurations.Update(t.Context(), live, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	calls := func(kind string, labels map[string]string) int {
		o := kinds()[kind](podSpec("a:1"))
		o.SetLabels(labels)
		n, _ := c.created(t, "enforce", o)
		return n
	}
	poll.Until(t, func(context.Context) error {
		if calls("Deployment", nil) > 0 {
			return fmt.Errorf("the condition is not in force")
		}
		return nil
	})
	for _, tt := range []struct {
		labels map[string]string
		want   int
	}{
		{map[string]string{"team": "a", "app": "b"}, 1},
		{map[string]string{"team": "", "app": ""}, 1},
		{map[string]string{"team": "a", "app": "b", "e2e.tagpin.dev/skip": "no"}, 1},
		{map[string]string{"team": "a", "app": "b", "e2e.tagpin.dev/skip": "yes"}, 0},
		{map[string]string{"team": "a", "app": "b", "ci": ""}, 0},
		{map[string]string{"team": "b", "app": "b"}, 0},
		{map[string]string{"team": "a"}, 0},
		{map[string]string{"app": "b"}, 0},
		{nil, 0},
	} {
		for _, kind := range []string{"Deployment", "CronJob", "PodTemplate"} {
			if got := calls(kind, tt.labels); got != tt.want {
				t.Errorf("%s with labels %v: %d calls, want %d", kind, tt.labels, got, tt.want)
			}
		}
		if got := calls("Pod", tt.labels); got != 1 {
			t.Errorf("Pod with labels %v: %d calls, want 1", tt.labels, got)
		}
	}
}
